"""The rows of batches: what clients see of them, and who works on which.

A runner holds a batch while its `beat` grows. Another takes it over when it has seen the same beat for the time of the
lease, by its own steady clock: so clocks that differ or jump cannot give one batch to two. Every write of a runner
says whose it is, and fails when that has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from trident.errors import InvalidRequestError, NotFoundError, RateLimitError
from trident.gateway.config import Storage
from trident.gateway.database import Database
from trident.gateway.identity import Identity
from trident.gateway.key_table import find_key
from trident.gateway.openai_api.batch_object import ACTIVE, batch_object, identity_json
from trident.gateway.openai_api.file_store import DAY_S, FileStore, NewFile
from trident.gateway.openai_api.pages import list_object, page_of
from trident.gateway.openai_api.stored_tables import batches, is_stored_id

Json = dict[str, Any]
WINDOW_S = 24 * 3600
_RETRY_AFTER_S = 60.0  # nobody knows when a batch ends


class LeaseLostError(Exception):
    """Another runner has the batch now, or it was deleted; whoever gets this has to let it be."""


class BatchStore:
    """Of all tenants; what a client asks names the one."""

    def __init__(
        self, database: Database, files: FileStore, storage: Storage, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._files = files
        self._storage = storage
        self._clock = clock  # seconds since 1970

    async def create(
        self,
        batch_id: str,
        identity: Identity,
        *,
        endpoint: str,
        input_file_id: str,
        metadata: Mapping[str, str],
        output_expires_s: int | None,
    ) -> Row[Any]:
        """A batch that waits for a runner.

        Raises:
            RateLimitError: the tenant has as many as it may that have not ended.
        """
        now = self._clock()
        values = {
            "id": batch_id,
            "tenant": identity.tenant,
            "created_at": now,
            "expires_at": now + WINDOW_S,
            "status": "validating",
            "endpoint": endpoint,
            "input_file_id": input_file_id,
            "identity": identity_json(identity),
            "metadata": dict(metadata),
            "times": {},
            "errors": [],
            "total": 0,
            "completed": 0,
            "failed": 0,
            "output_expires_s": output_expires_s,
            "beat": 0,
        }

        def write(connection: Connection) -> Row[Any]:
            self._check_room(connection, identity.tenant)
            connection.execute(insert(batches).values(values))
            return _row(connection, batch_id)

        return await self._database.run(write)

    async def get(self, tenant: str, batch_id: str) -> Row[Any]:
        """Raises NotFoundError: there is none, or it is another tenant's."""
        query = select(batches).where(batches.c.id == batch_id, batches.c.tenant == tenant)
        row = None
        if is_stored_id(batch_id):
            row = await self._database.run(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise _not_found(batch_id)
        return row

    async def has_ended(self, batch_id: str) -> bool | None:
        """Of any tenant's; None where there is no such batch, or not yet."""
        query = select(batches.c.status).where(batches.c.id == batch_id)
        status = await self._database.run(lambda connection: connection.execute(query).scalar())
        return None if status is None else status not in ACTIVE

    async def page(self, tenant: str, after: str | None, limit: int) -> Json:
        """A page of the tenant's, newest first; errors as of `page_of`."""
        rows, has_more = await self._database.run(
            lambda connection: page_of(connection, batches, {"tenant": tenant}, after=after, limit=limit, order="desc")
        )
        return list_object(rows, has_more, batch_object)

    async def cancel(self, tenant: str, batch_id: str) -> Row[Any]:
        """Tell the runner to stop; what is answered stays.

        Raises:
            NotFoundError: as of `get`.
            InvalidRequestError: it has ended.
        """

        def write(connection: Connection) -> Row[Any]:
            query = select(batches).where(batches.c.id == batch_id, batches.c.tenant == tenant).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _not_found(batch_id)
            if row.status in {"cancelling", "cancelled"}:
                return row
            if row.status not in {"validating", "in_progress"}:
                raise InvalidRequestError(f"a batch that is {row.status} cannot be cancelled")
            times = {**row.times, "cancelling_at": int(self._clock())}
            values = {"status": "cancelling", "times": times}
            connection.execute(update(batches).where(batches.c.id == batch_id).values(values))
            return _row(connection, batch_id)

        await self.get(tenant, batch_id)
        return await self._database.run(write)

    async def unfinished(self) -> Sequence[Row[Any]]:
        """All that a runner has or should have, the oldest first."""
        columns = batches.c
        query = (
            select(columns.id, columns.tenant, columns.runner, columns.beat)
            .where(columns.status.in_(ACTIVE))
            .order_by(columns.created_at)
        )
        return await self._database.run(lambda connection: connection.execute(query).all())

    async def claim(self, seen: Row[Any], runner: str) -> Row[Any] | None:
        """The batch for this runner, if nobody has moved since `seen`."""
        query = update(batches).where(
            batches.c.id == seen.id,
            batches.c.status.in_(ACTIVE),
            batches.c.runner.is_not_distinct_from(seen.runner),
            batches.c.beat == seen.beat,
        )

        def write(connection: Connection) -> Row[Any] | None:
            changed = connection.execute(query.values(runner=runner, beat=seen.beat + 1)).rowcount
            return _row(connection, seen.id) if changed == 1 else None

        return await self._database.run(write)

    async def beat(self, batch_id: str, runner: str, counts: Mapping[str, int]) -> Row[Any]:
        """Say that the runner lives, and how far it is: `completed` and `failed`, where it knows.

        Raises:
            LeaseLostError: it is not this runner's any more.
        """
        values = {"beat": batches.c.beat + 1, **counts}
        return await self._database.run(lambda connection: _write(connection, batch_id, runner, values))

    async def is_revoked(self, row: Row[Any]) -> bool:
        """Whether the key that made it was; what came with a provider's token, or without a key, cannot be."""
        key = await self._database.run(lambda connection: find_key(connection, row.identity["key_id"]))
        return key is not None and key.tenant == row.tenant and key.revoked_at is not None

    async def advance(self, batch_id: str, runner: str, status: str, **values: Any) -> Row[Any]:
        """The next status, and the time of it; one that is being cancelled stays so. Errors as of `beat`."""

        def write(connection: Connection) -> Row[Any]:
            row = connection.execute(select(batches).where(batches.c.id == batch_id).with_for_update()).one_or_none()
            if row is None:
                raise LeaseLostError(batch_id)
            new = row.status if row.status == "cancelling" else status
            return _write(connection, batch_id, runner, {**values, "status": new, "times": self._timed(row, new)})

        return await self._database.run(write)

    async def end(self, batch_id: str, runner: str, status: str, made: Sequence[NewFile], **values: Any) -> Row[Any]:
        """The last status, together with the files that were made; errors as of `beat`."""

        def write(connection: Connection) -> Row[Any]:
            row = connection.execute(select(batches).where(batches.c.id == batch_id).with_for_update()).one_or_none()
            if row is None:
                raise LeaseLostError(batch_id)
            last = {**values, "status": status, "times": self._timed(row, status), "ended_at": self._clock()}
            ended = _write(connection, batch_id, runner, last)
            for new in made:
                self._files.insert(connection, new)
            return ended

        return await self._database.run(write)

    async def release(self, runner: str, batch_id: str | None = None) -> None:
        """Let other runners have what this one has, or that batch of it, at once."""
        query = update(batches).where(batches.c.runner == runner, batches.c.status.in_(ACTIVE)).values(runner=None)
        if batch_id is not None:
            query = query.where(batches.c.id == batch_id)
        await self._database.run(lambda connection: connection.execute(query))

    async def sweep(self) -> None:
        """Forget those that ended long ago."""
        query = delete(batches).where(batches.c.ended_at < self._clock() - self._storage.file_days * DAY_S)
        await self._database.run(lambda connection: connection.execute(query))

    def _check_room(self, connection: Connection, tenant: str) -> None:
        of_tenant = (batches.c.tenant == tenant, batches.c.status.in_(ACTIVE))
        limit = self._storage.max_tenant_batches
        if connection.execute(select(func.count()).where(*of_tenant)).scalar_one() >= limit:
            told = f"the tenant has {limit} batches that have not ended; ask again when one has"
            raise RateLimitError(told, retry_after_s=_RETRY_AFTER_S)

    def _timed(self, row: Row[Any], status: str) -> Json:
        return {**row.times, f"{status}_at": row.times.get(f"{status}_at", int(self._clock()))}


def _row(connection: Connection, batch_id: str) -> Row[Any]:
    return connection.execute(select(batches).where(batches.c.id == batch_id)).one()


def _write(connection: Connection, batch_id: str, runner: str, values: Mapping[str, Any]) -> Row[Any]:
    query = update(batches).where(batches.c.id == batch_id, batches.c.runner == runner).values(values)
    if connection.execute(query).rowcount != 1:
        raise LeaseLostError(batch_id)
    return _row(connection, batch_id)


def _not_found(batch_id: str) -> NotFoundError:
    return NotFoundError(f"there is no batch '{batch_id[:64]}'", param="batch_id", code="batch_not_found")
