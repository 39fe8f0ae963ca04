"""Vectors in PostgreSQL with pgvector, which several gateways share, through the gateway's own database.

The table is made at the start where this store is configured, and not by a migration: most databases have no pgvector.
A namespace is found by its B-tree and compared exactly while it is small; the planner takes the HNSW graph for large
ones, which then goes on until enough rows of the namespace are found (pgvector 0.8, `hnsw.iterative_scan`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, exc, text

from trident.errors import SettingsError, TridentError, UnavailableError
from trident.gateway.cache.vectors import Item, Near, Vector
from trident.gateway.database import Database

T = TypeVar("T")
_LOCK = 0x7472_6376  # of PostgreSQL, while tables and indexes are made; any number that nothing else uses
_SWEEP_EVERY = 100  # items that are added here
_MAX_DIMENSIONS = 4000  # of a halfvec that an index takes
_TABLE = """
CREATE TABLE IF NOT EXISTS cached_vectors (
    key text PRIMARY KEY,
    number bigserial,
    namespace text NOT NULL,
    dimensions integer NOT NULL,
    vector halfvec NOT NULL,
    payload text NOT NULL,
    tenant text NOT NULL,
    model text NOT NULL,
    prompt text NOT NULL,
    tags text[] NOT NULL,
    expires_at timestamptz NOT NULL
)
"""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS cached_vectors_namespace ON cached_vectors (namespace)",
    "CREATE INDEX IF NOT EXISTS cached_vectors_number ON cached_vectors (number)",
    "CREATE INDEX IF NOT EXISTS cached_vectors_expires_at ON cached_vectors (expires_at)",
)
_GRAPH = """
CREATE INDEX IF NOT EXISTS cached_vectors_hnsw_{0} ON cached_vectors
USING hnsw ((vector::halfvec({0})) halfvec_cosine_ops) WHERE dimensions = {0}
"""
_ADD = """
INSERT INTO cached_vectors (key, namespace, dimensions, vector, payload, tenant, model, prompt, tags, expires_at)
VALUES (:key, :namespace, :dimensions, CAST(:vector AS halfvec), :payload, :tenant, :model, :prompt, :tags,
        now() + make_interval(secs => :ttl_s))
ON CONFLICT (key) DO UPDATE SET namespace = excluded.namespace, dimensions = excluded.dimensions,
    vector = excluded.vector, payload = excluded.payload, tenant = excluded.tenant, model = excluded.model,
    prompt = excluded.prompt, tags = excluded.tags, expires_at = excluded.expires_at, number = excluded.number
"""
_NEAREST = """
SELECT key, 1 - (vector::halfvec({0}) <=> CAST(:vector AS halfvec({0}))), tenant, payload FROM cached_vectors
WHERE namespace = :namespace AND dimensions = {0} AND expires_at > now()
ORDER BY vector::halfvec({0}) <=> CAST(:vector AS halfvec({0})) LIMIT :k
"""
_DROP = """
DELETE FROM cached_vectors
WHERE (:key = '' OR key = :key) AND starts_with(prompt, :prefix) AND (:model = '' OR model = :model)
    AND (:tag = '' OR :tag = ANY(tags)) AND (:tenant = '' OR tenant = :tenant)
RETURNING key
"""
_SWEEP = """
DELETE FROM cached_vectors
WHERE expires_at <= now() OR number <= (SELECT number FROM cached_vectors ORDER BY number DESC OFFSET :max LIMIT 1)
"""


class PgVectors:
    """The oldest leave when there are more than `max_entries`, a few of which may be there too many at times."""

    is_shared = True

    def __init__(self, database: Database, max_entries: int) -> None:
        self._database = database
        self._max_entries = max_entries
        self._num_added = 0
        self._indexed: set[int] = set()  # dimensions

    async def start(self) -> None:
        """Make the table where there is none.

        Raises:
            SettingsError: the database has no pgvector, or this account may not make the table.
        """
        try:
            await self._database.run(_make_table)
        except exc.SQLAlchemyError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise SettingsError(f"cache.semantic.store = 'postgres' needs pgvector 0.8: {reason}") from error

    async def add(self, item: Item) -> None:
        """See `Vectors`."""
        num_dimensions = len(item.vector)
        if num_dimensions > _MAX_DIMENSIONS:
            raise UnavailableError(f"pgvector indexes {_MAX_DIMENSIONS} dimensions at most, not {num_dimensions}")
        if num_dimensions not in self._indexed:
            await self._run(lambda connection: _make(connection, _GRAPH.format(num_dimensions)))
            self._indexed.add(num_dimensions)
        values = {
            "key": item.key, "namespace": item.namespace, "dimensions": num_dimensions, "vector": _written(item.vector),
            "payload": _storable(item.payload), "tenant": item.tenant, "model": item.model,
            "prompt": _storable(item.prompt), "tags": sorted(map(_storable, item.tags)), "ttl_s": item.ttl_s,
        }  # fmt: skip
        await self._run(lambda connection: connection.execute(text(_ADD), values))
        self._num_added += 1
        if self._num_added % _SWEEP_EVERY == 0:
            await self._run(lambda connection: connection.execute(text(_SWEEP), {"max": self._max_entries}))

    async def nearest(self, namespace: str, vector: Vector, k: int) -> Sequence[Near]:
        """See `Vectors`."""
        query = text(_NEAREST.format(len(vector)))
        values = {"namespace": namespace, "vector": _written(vector), "k": k}

        def read(connection: Connection) -> list[Near]:
            connection.exec_driver_sql("SET LOCAL hnsw.iterative_scan = strict_order")
            return [Near(*row) for row in connection.execute(query, values)]

        return await self._run(read)

    async def drop(
        self, *, key: str = "", prefix: str = "", model: str = "", tag: str = "", tenant: str = ""
    ) -> Sequence[str]:
        """See `Vectors`."""
        values = {"key": key, "prefix": _storable(prefix), "model": model, "tag": _storable(tag), "tenant": tenant}
        return await self._run(lambda connection: list(connection.execute(text(_DROP), values).scalars()))

    async def count(self) -> int:
        """See `Vectors`."""
        query = text("SELECT count(*) FROM cached_vectors WHERE expires_at > now()")
        return await self._run(lambda connection: int(connection.execute(query).scalar_one()))

    async def close(self) -> None:
        """See `Vectors`; the database is closed by whoever opened it."""

    async def _run(self, fn: Callable[[Connection], T]) -> T:
        try:
            return await self._database.run(fn)
        except TridentError:
            raise
        except exc.SQLAlchemyError as error:
            raise UnavailableError(f"the shared vectors do not answer: {type(error).__name__}") from error


def _make_table(connection: Connection) -> None:
    _make(connection, "CREATE EXTENSION IF NOT EXISTS vector", _TABLE, *_INDEXES)


def _make(connection: Connection, *statements: str) -> None:
    """One gateway at a time: IF NOT EXISTS is no protection from another that does the same."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    for statement in statements:
        connection.exec_driver_sql(statement)


def _written(vector: Vector) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{value:.6g}" for value in vector.tolist()) + "]"


def _storable(value: str) -> str:
    """PostgreSQL's texts hold neither U+0000 nor half a surrogate pair."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
