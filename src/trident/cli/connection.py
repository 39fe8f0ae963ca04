"""The options that say which server is asked and how: the same in every verb that asks a running one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trident.errors import SettingsError

if TYPE_CHECKING:
    from trident_client import Client, Connection

Url = Annotated[str | None, typer.Option(help="host:port of the server; this machine's by default")]
ProtocolName = Annotated[Literal["grpc", "http"], typer.Option(help="how to talk to it")]
ModelName = Annotated[str, typer.Option("--model", help="the ensemble's name there, or a gateway's name of a model")]
ApiKey = Annotated[str | None, typer.Option(help="sent as a bearer token; @FILE reads it, so that nobody else sees it")]
CaFile = Annotated[
    Path | None, typer.Option(help="PEM of the authorities to trust; encrypts, as does grpcs:// in --url")
]
CertFile = Annotated[Path | None, typer.Option(help="PEM of the client's own certificate, with --key-file")]
KeyFile = Annotated[Path | None, typer.Option(help="PEM of its key")]
GatewayFile = Annotated[Path, typer.Option("--config", help="the gateway's file; see docs/gateway.md")]
GATEWAY_FILE = Path("gateway.toml")


def connect(url: str | None, protocol: Literal["grpc", "http"], model: str, connection: Connection) -> Client:
    """A client of the server at `url`, or of the one that the settings put on this machine."""
    from trident_client import Client

    return Client(url or own_url(protocol), protocol, model=model, connection=connection)


def connection_of(
    api_key: str | None, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> Connection:
    """What the options say beside the address.

    Raises:
        SettingsError: an API key that is empty or cannot be read, or a certificate without its key.
    """
    from trident_client import Connection, Tls

    tls = Tls(ca_file, cert_file, key_file) if ca_file or cert_file or key_file else None
    return Connection(api_key=_read_key(api_key), tls=tls)


def own_url(protocol: Literal["grpc", "http"]) -> str:
    """Where the settings put the server on this machine."""
    from trident.settings import read_settings

    settings = read_settings()
    return f"{settings.loopback}:{settings.grpc_port if protocol == 'grpc' else settings.http_port}"


def _read_key(api_key: str | None) -> str | None:
    if api_key is None:
        return None
    try:
        key = Path(api_key[1:]).read_text(encoding="utf-8").strip() if api_key.startswith("@") else api_key
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the API key in {api_key[1:]} cannot be read: {exc}") from exc
    if not key:
        raise SettingsError("the API key is empty; leave --api-key out where none is asked for")
    return key
