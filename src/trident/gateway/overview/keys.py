"""The newest keys, without their secrets, and when each was last used as the ledger knows it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from trident.gateway.key_table import api_keys, count_keys, newest_keys
from trident.gateway.keys import ApiKey
from trident.gateway.ledger.tables import requests
from trident.gateway.overview.figures import KeyFigures, KeysFigures

_MAX_KEYS = 500


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """One reading."""

    total: int
    keys: tuple[ApiKey, ...]
    last_used_at: dict[str, float | None]  # by public part, in seconds since 1970


def read_keys(connection: Connection) -> KnownKeys:
    """For one transaction; a look into an index for each key."""
    keys = tuple(newest_keys(connection, _MAX_KEYS))
    last_use = select(func.max(requests.c.ended_at)).where(requests.c.key_id == api_keys.c.prefix).scalar_subquery()
    uses = select(api_keys.c.prefix, last_use).where(api_keys.c.prefix.in_([key.prefix for key in keys]))
    return KnownKeys(count_keys(connection), keys, dict(connection.execute(uses).all()))


def keys_figures(known: KnownKeys, now: float) -> KeysFigures:
    """For people."""
    return KeysFigures(
        total=known.total, keys=[_figures(key, now, known.last_used_at.get(key.prefix)) for key in known.keys]
    )


def _figures(key: ApiKey, now: float, last_used_at: float | None) -> KeyFigures:
    return KeyFigures(
        prefix=key.prefix,
        name=key.name,
        tenant=key.tenant,
        state=key.state(now),
        models=None if key.models is None else sorted(key.models),
        endpoints=None if key.endpoints is None else sorted(key.endpoints),
        limits=key.limits,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=last_used_at,
    )
