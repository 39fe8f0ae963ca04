"""`trident keys`: the gateway's API keys, in the database that its file names. A key is shown once, when it is made."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from trident.cli.connection import GATEWAY_FILE, GatewayFile
from trident.cli.key_options import check_name, endpoints_of, limits_of, models_of, moment_of, public_part_of
from trident.cli.table import print_table

if TYPE_CHECKING:
    from trident.gateway.config import GatewayConfig
    from trident.gateway.database import Database
    from trident.gateway.keys import ApiKey

app = typer.Typer(help="The gateway's API keys.", no_args_is_help=True)

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
KeyPrefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="public part of the key, as `trident keys list` shows it")
]


@dataclass(frozen=True)
class _Opened:
    config: GatewayConfig
    database: Database
    pepper: bytes


@app.command()
def create(
    *,
    config: GatewayFile = GATEWAY_FILE,
    tenant: Annotated[str, typer.Option("--tenant", help="the team that it belongs to")] = "default",
    name: Annotated[str, typer.Option("--name", help="what people call it")] = "",
    models: Annotated[str | None, typer.Option("--models", help="a,b: only these may be asked")] = None,
    endpoints: Annotated[
        str | None, typer.Option("--endpoints", help="chat,embeddings: only these may be used")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="may use the operator's endpoints too")] = False,
    expires: Annotated[
        str | None, typer.Option("--expires", help="after 90d, 12h or 30m, or on a day: 2027-01-31")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option("--requests-per-minute", min=1)] = None,
    tokens_per_minute: Annotated[int | None, typer.Option("--tokens-per-minute", min=1)] = None,
    concurrent_requests: Annotated[int | None, typer.Option("--concurrent-requests", min=1)] = None,
    daily_budget: Annotated[float | None, typer.Option("--daily-budget", help="in the currency of the prices")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it; nobody can print it again."""
    from trident.gateway.key_table import add_key
    from trident.gateway.keys import ApiKey, digest_of, new_key, new_prefix

    limits = limits_of(requests_per_minute, tokens_per_minute, concurrent_requests, daily_budget)
    check_name("tenant", tenant, least=1)
    check_name("name", name, least=0)

    async def make(opened: _Opened) -> tuple[ApiKey, str]:
        prefix, now = new_prefix(), time.time()
        text = new_key(prefix)
        key = ApiKey(
            prefix,
            tenant,
            name,
            digest_of(opened.pepper, text),
            now,
            models=models_of(models, opened.config),
            endpoints=endpoints_of(endpoints, admin),
            limits=limits,
            expires_at=None if expires is None else moment_of(expires, now, "--expires"),
        )
        await opened.database.run(lambda connection: add_key(connection, key))
        return key, text

    key, text = _with_database(config, make)
    _show_new(key, text, as_json)


@app.command("list")
def list_(
    *,
    config: GatewayFile = GATEWAY_FILE,
    tenant: Annotated[str | None, typer.Option("--tenant", help="of this one only")] = None,
    as_json: AsJson = False,
) -> None:
    """The keys, without their secrets, which nobody has."""
    from trident.gateway.key_table import list_keys

    async def read(opened: _Opened) -> list[ApiKey]:
        return await opened.database.run(lambda connection: list_keys(connection, tenant))

    keys, now = _with_database(config, read), time.time()
    if as_json:
        print(json.dumps([_fields(key, now) for key in keys], indent=2))
        return
    header = ["prefix", "tenant", "name", "state", "models", "endpoints", "limits", "created", "expires"]
    print_table(header, [_row(key, now) for key in keys])


@app.command()
def revoke(prefix: KeyPrefix, *, config: GatewayFile = GATEWAY_FILE, as_json: AsJson = False) -> None:
    """Stop a key for ever; running gateways refuse it within five seconds."""
    from trident.gateway.key_table import revoke_key

    public = public_part_of(prefix)

    async def stop(opened: _Opened) -> ApiKey:
        return await opened.database.run(lambda connection: revoke_key(connection, public, time.time()))

    key = _with_database(config, stop)
    print(json.dumps(_fields(key, time.time()), indent=2) if as_json else f"{key.prefix} of {key.tenant} is revoked")


@app.command()
def rotate(
    prefix: KeyPrefix,
    *,
    config: GatewayFile = GATEWAY_FILE,
    grace: Annotated[
        str, typer.Option("--grace", help="how long the old secret goes on: 24h, 30m; 0s: not at all")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a key another secret and print it; the old one is good for a while, for those who still have it."""
    from trident.gateway.key_table import rotate_key
    from trident.gateway.keys import digest_of, new_key

    public, until = public_part_of(prefix), moment_of(grace, time.time(), "--grace")

    async def renew(opened: _Opened) -> tuple[ApiKey, str]:
        text = new_key(public)
        digest = digest_of(opened.pepper, text)
        return await opened.database.run(lambda connection: rotate_key(connection, public, digest, until)), text

    key, text = _with_database(config, renew)
    _show_new(key, text, as_json)


def _with_database(path: Path, function: Callable[[_Opened], Awaitable[T]]) -> T:
    from trident.gateway.config_file import read_config
    from trident.gateway.database import Database, database_url
    from trident.gateway.keys import read_pepper

    config = read_config(path)

    async def use() -> T:
        database = Database(database_url(config.server))
        await database.start()
        try:
            return await function(_Opened(config, database, read_pepper(config.server)))
        finally:
            await database.close()

    return asyncio.run(use())


def _show_new(key: ApiKey, text: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_fields(key, time.time()), "key": text}, indent=2))
        return
    print(text)
    typer.echo(f"keep it: it is not shown again; stop it with: trident keys revoke {key.prefix}", err=True)


def _fields(key: ApiKey, now: float) -> dict[str, Any]:
    """What may be shown of a key."""
    return {
        "prefix": key.prefix,
        "tenant": key.tenant,
        "name": key.name,
        "state": key.state(now),
        "models": None if key.models is None else sorted(key.models),
        "endpoints": None if key.endpoints is None else sorted(key.endpoints),
        "limits": None if key.limits is None else key.limits.model_dump(exclude_none=True),
        "created_at": _day_text(key.created_at),
        "expires_at": _day_text(key.expires_at),
        "revoked_at": _day_text(key.revoked_at),
        "old_secret_until": _day_text(key.previous_until) if (key.previous_until or 0) > now else None,
    }


def _row(key: ApiKey, now: float) -> list[str]:
    fields = _fields(key, now)
    limits = "" if key.limits is None else " ".join(f"{name}={value}" for name, value in fields["limits"].items())
    return [
        key.prefix,
        key.tenant,
        key.name,
        fields["state"],
        "all" if key.models is None else ",".join(fields["models"]),
        "all but admin" if key.endpoints is None else ",".join(fields["endpoints"]),
        limits or "the file's",
        fields["created_at"],
        fields["expires_at"] or "never",
    ]


def _day_text(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
