"""The table of API keys: find, add, list, revoke, rotate. Every function is for one transaction (`Database.run`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import JSON, Column, Connection, Float, LargeBinary, String, Table, func, insert, select, update

from trident.errors import NotFoundError, did_you_mean
from trident.gateway.database import metadata
from trident.gateway.identity import Limits
from trident.gateway.keys import ApiKey

api_keys = Table(
    "api_keys",
    metadata,
    Column("prefix", String(16), primary_key=True),
    Column("tenant", String(128), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("previous_digest", LargeBinary(32)),
    Column("previous_until", Float),
    Column("models", JSON(none_as_null=True)),
    Column("endpoints", JSON(none_as_null=True)),
    Column("limits", JSON(none_as_null=True)),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)


def find_key(connection: Connection, prefix: str) -> ApiKey | None:
    """Whatever its state; None where there is none."""
    row = connection.execute(select(api_keys).where(api_keys.c.prefix == prefix)).mappings().first()
    return None if row is None else _key_of(row)


def list_keys(connection: Connection, tenant: str | None = None) -> list[ApiKey]:
    """Of one tenant or of all, oldest first."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.prefix)
    if tenant is not None:
        query = query.where(api_keys.c.tenant == tenant)
    return [_key_of(row) for row in connection.execute(query).mappings()]


def newest_keys(connection: Connection, most: int) -> list[ApiKey]:
    """Whatever their state and tenant; at most so many."""
    query = select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.prefix).limit(most)
    return [_key_of(row) for row in connection.execute(query).mappings()]


def count_keys(connection: Connection) -> int:
    """All of them."""
    return connection.execute(select(func.count()).select_from(api_keys)).scalar() or 0


def add_key(connection: Connection, key: ApiKey) -> None:
    """Its prefix must be new."""
    values = asdict(key)
    values["models"] = None if key.models is None else sorted(key.models)
    values["endpoints"] = None if key.endpoints is None else sorted(key.endpoints)
    values["limits"] = None if key.limits is None else key.limits.model_dump(exclude_none=True)
    connection.execute(insert(api_keys).values(**values))


def revoke_key(connection: Connection, prefix: str, now: float) -> ApiKey:
    """Now and for ever; one that was revoked before keeps its time.

    Raises:
        NotFoundError: there is none.
    """
    key = _known_key(connection, prefix)
    if key.revoked_at is None:
        connection.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(revoked_at=now))
    return _known_key(connection, prefix)


def rotate_key(connection: Connection, prefix: str, digest: bytes, previous_until: float) -> ApiKey:
    """Another secret; the one before it is good until `previous_until`, the one before that no more.

    Raises:
        NotFoundError: there is none, or it is revoked.
    """
    key = _known_key(connection, prefix)
    if key.revoked_at is not None:
        raise NotFoundError(f"the key {prefix} is revoked; create another")
    values = {"digest": digest, "previous_digest": key.digest, "previous_until": previous_until}
    connection.execute(update(api_keys).where(api_keys.c.prefix == prefix).values(**values))
    return _known_key(connection, prefix)


def _known_key(connection: Connection, prefix: str) -> ApiKey:
    key = find_key(connection, prefix)
    if key is None:
        known = connection.execute(select(api_keys.c.prefix)).scalars()
        raise NotFoundError(f"there is no key {prefix}{did_you_mean(prefix, known)}")
    return key


def _key_of(row: Any) -> ApiKey:
    values = dict(row)
    for name in ("models", "endpoints"):
        values[name] = None if values[name] is None else frozenset(values[name])
    values["limits"] = None if values["limits"] is None else Limits.model_validate(values["limits"])
    return ApiKey(**values)
