"""How a server is reached, beside its address: credentials, certificates, limits. Frozen, given by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trident.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption; with `cert_file` and `key_file` the client proves itself too (mTLS). Files are PEM."""

    ca_file: str | Path | None = None  # of the authorities to trust; None: those of the system
    cert_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str | None = None  # in the server's certificate, where it is not the address's

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise SettingsError("Tls needs cert_file and key_file together, or neither")


@dataclass(frozen=True, slots=True)
class Connection:
    """Used for every endpoint alike."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of every request; they may hold secrets
    api_key: str | None = field(default=None, repr=False)  # sent as `Authorization: Bearer`
    tls: Tls | None = None  # "grpcs://" and "https://" mean Tls() without being told
    connect_timeout_s: float = 5.0
    # A gRPC ping, a TCP probe of HTTP. Triton's gRPC endpoint breaks connections that are pinged more often than every
    # 300 s, unless it is started with --grpc-http2-min-recv-ping-interval-without-data.
    keepalive_s: float = 300.0
    keepalive_timeout_s: float = 20.0  # without an answer to a ping; then the connection counts as broken
    max_message_bytes: int = -1  # of a gRPC message, either way; -1: any

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Those of every request, the API key's among them; lower case, as gRPC wants it.

        Raises:
            SettingsError: a name or value that is no header.
        """
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key}"
        for name, value in headers.items():
            if not name.isascii() or not value.isascii() or not (name + value).isprintable():
                raise SettingsError(f"header '{name}' is not printable ASCII")
        return tuple(headers.items())


def is_encrypted(url: str, connection: Connection) -> bool:
    """Whether the address or the settings ask for TLS."""
    return connection.tls is not None or url.startswith(("https://", "grpcs://"))


def read_pem(path: str | Path | None) -> bytes | None:
    """The bytes of a file of certificates or of a key.

    Raises:
        SettingsError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
