"""`trident keys`: the gateway's API keys, in the database that its file names. A key is shown once, when it is made."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

from trident.cli.table import print_table
from trident.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from trident.gateway.config import GatewayConfig
    from trident.gateway.database import Database
    from trident.gateway.identity import Limits
    from trident.gateway.keys import ApiKey

app = typer.Typer(help="The gateway's API keys.", no_args_is_help=True)

T = TypeVar("T")
Config = Annotated[Path, typer.Option("--config", help="The gateway's file; see docs/gateway.md.")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
KeyPrefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="public part of the key, as `trident keys list` shows it")
]

_DEFAULT_CONFIG = Path("gateway.toml")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")
_MAX_NAME_BYTES = 128


@dataclass(frozen=True)
class _Opened:
    config: GatewayConfig
    database: Database
    pepper: bytes


@app.command()
def create(
    *,
    config: Config = _DEFAULT_CONFIG,
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

    limits = _limits(requests_per_minute, tokens_per_minute, concurrent_requests, daily_budget)
    _check_name("tenant", tenant, least=1)
    _check_name("name", name, least=0)

    async def make(opened: _Opened) -> tuple[ApiKey, str]:
        prefix, now = new_prefix(), time.time()
        text = new_key(prefix)
        key = ApiKey(
            prefix,
            tenant,
            name,
            digest_of(opened.pepper, text),
            now,
            models=_models(models, opened.config),
            endpoints=_endpoints(endpoints, admin),
            limits=limits,
            expires_at=None if expires is None else _moment(expires, now, "--expires"),
        )
        await opened.database.run(lambda connection: add_key(connection, key))
        return key, text

    key, text = _with_database(config, make)
    _show_new(key, text, as_json)


@app.command("list")
def list_(
    *,
    config: Config = _DEFAULT_CONFIG,
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
def revoke(prefix: KeyPrefix, *, config: Config = _DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Stop a key for ever; running gateways refuse it within five seconds."""
    from trident.gateway.key_table import revoke_key

    public = _public_part(prefix)

    async def stop(opened: _Opened) -> ApiKey:
        return await opened.database.run(lambda connection: revoke_key(connection, public, time.time()))

    key = _with_database(config, stop)
    print(json.dumps(_fields(key, time.time()), indent=2) if as_json else f"{key.prefix} of {key.tenant} is revoked")


@app.command()
def rotate(
    prefix: KeyPrefix,
    *,
    config: Config = _DEFAULT_CONFIG,
    grace: Annotated[
        str, typer.Option("--grace", help="how long the old secret goes on: 24h, 30m; 0s: not at all")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    """Give a key another secret and print it; the old one is good for a while, for those who still have it."""
    from trident.gateway.key_table import rotate_key
    from trident.gateway.keys import digest_of, new_key

    public, until = _public_part(prefix), _moment(grace, time.time(), "--grace")

    async def renew(opened: _Opened) -> tuple[ApiKey, str]:
        text = new_key(public)
        digest = digest_of(opened.pepper, text)
        return await opened.database.run(lambda connection: rotate_key(connection, public, digest, until)), text

    key, text = _with_database(config, renew)
    _show_new(key, text, as_json)


def _with_database(path: Path, function: Callable[[_Opened], Awaitable[T]]) -> T:
    from trident.gateway.config import read_config
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


def _limits(requests: int | None, tokens: int | None, concurrent: int | None, budget: float | None) -> Limits | None:
    """None where no option is given: then the file's hold."""
    from trident.gateway.identity import Limits

    if budget is not None and budget <= 0:
        raise SettingsError(f"--daily-budget must be above 0, not {budget:g}")
    if requests is tokens is concurrent is budget is None:
        return None
    return Limits(
        requests_per_minute=requests, tokens_per_minute=tokens, concurrent_requests=concurrent, daily_budget=budget
    )


def _models(text: str | None, config: GatewayConfig) -> frozenset[str] | None:
    known = {*config.models, *(alias for route in config.models.values() for alias in route.aliases)}
    return _known_names(text, "--models", known)


def _endpoints(text: str | None, is_admin: bool) -> frozenset[str] | None:
    from trident.gateway.identity import Endpoint

    named = _known_names(text, "--endpoints", set(get_args(Endpoint)))
    if not is_admin:
        return named
    return frozenset(get_args(Endpoint)) if named is None else named | {"admin"}


def _known_names(text: str | None, option: str, known: set[str]) -> frozenset[str] | None:
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names - known):
        raise SettingsError(
            f"{option}: there is no '{name}'{did_you_mean(name, known)}; known: {', '.join(sorted(known))}"
        )
    return names


def _moment(text: str, now: float, option: str) -> float:
    """Seconds since 1970: so long from `now`, or the beginning of a day in UTC."""
    if match := _DURATION.fullmatch(text):
        return now + int(match[1]) * _UNITS_S[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option}: '{text}' is neither a time (90d, 12h, 30m, 10s) nor a day (2027-01-31)"
        ) from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    if seconds <= now:
        raise SettingsError(f"{option}: {text} is in the past")
    return seconds


def _public_part(text: str) -> str:
    """Of a prefix, however it is written; of a whole key too, which should not stand in a shell's history."""
    public = text.removeprefix("tri_").partition("_")[0]
    if not re.fullmatch(r"[0-9a-f]{12}", public):
        raise SettingsError("a key's prefix has 12 hex digits; `trident keys list` shows them")
    return public


def _check_name(option: str, text: str, least: int) -> None:
    if not text.isprintable() or not least <= len(text.encode()) <= _MAX_NAME_BYTES:
        raise SettingsError(f"--{option} must have {least} to {_MAX_NAME_BYTES} printable bytes")


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
