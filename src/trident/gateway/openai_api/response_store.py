"""The rows of stored responses. A stream's is there from its first event, so that it can be read and cancelled."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from trident.errors import NotFoundError, TridentError
from trident.gateway.config import Storage
from trident.gateway.database import Database
from trident.gateway.openai_api.file_store import DAY_S, over_quota
from trident.gateway.openai_api.stored_tables import is_stored_id, responses

Json = dict[str, Any]
_BELIEVED_S = 10.0  # that a tenant has room, as other gateways fill it too


class ResponseStore:
    """Of all tenants; every call names the one."""

    def __init__(self, database: Database, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._storage = storage
        self._clock = clock  # seconds since 1970
        self._room: dict[str, tuple[float, int, int]] = {}  # by tenant: until when it is believed, responses, bytes

    async def add(self, tenant: str, body: Json, items: Sequence[Json], deployment: str) -> None:
        """Keep a response; `items`: the conversation that it answers.

        Raises:
            RequestTooLargeError: the tenant keeps as much as it may.
        """
        now, num_bytes = self._clock(), _size_of(body) + _size_of(items)
        values = {
            "id": body["id"],
            "tenant": tenant,
            "created_at": now,
            "expires_at": now + self._storage.response_days * DAY_S,
            "status": body["status"],
            "deployment": deployment,
            "body": body,
            "input": list(items),
            "bytes": num_bytes,
        }

        def write(connection: Connection) -> None:
            self._take_room(connection, tenant, num_bytes)
            connection.execute(insert(responses).values(values))

        await self._database.run(write)

    @contextlib.asynccontextmanager
    async def kept(self, tenant: str, body: Json, items: Sequence[Json], deployment: str) -> AsyncIterator[None]:
        """Likewise, and gone again when what is done with it fails. Errors as of `add`, before anything is done."""
        await self.add(tenant, body, items, deployment)
        try:
            yield
        except BaseException:
            with contextlib.suppress(TridentError):
                await self.delete(tenant, body["id"])
            raise

    async def end(self, tenant: str, body: Json) -> None:
        """How a response that was in progress has ended; nothing where it was deleted meanwhile."""
        query = (
            update(responses)
            .where(responses.c.id == body["id"], responses.c.tenant == tenant, responses.c.status == "in_progress")
            .values(status=body["status"], body=body, bytes=responses.c.bytes + _size_of(body["output"]))
        )
        await self._database.run(lambda connection: connection.execute(query))

    async def get(self, tenant: str, response_id: str) -> Row[Any]:
        """Its row.

        Raises:
            NotFoundError: there is none, it has expired, or it is another tenant's.
        """
        row = await self.find(tenant, response_id)
        if row is None:
            raise _not_found(response_id)
        return row

    async def find(self, tenant: str, response_id: str) -> Row[Any] | None:
        """Likewise; None where there is none."""
        if not is_stored_id(response_id):
            return None
        query = select(responses).where(
            responses.c.id == response_id, responses.c.tenant == tenant, responses.c.expires_at > self._clock()
        )
        return await self._database.run(lambda connection: connection.execute(query).one_or_none())

    async def find_all(self, tenant: str, response_ids: Collection[str]) -> Sequence[Row[Any]]:
        """The rows of those that are there, in one query."""
        query = select(responses).where(
            responses.c.id.in_(response_ids), responses.c.tenant == tenant, responses.c.expires_at > self._clock()
        )
        return await self._database.run(lambda connection: connection.execute(query).all())

    async def delete(self, tenant: str, response_id: str) -> None:
        """For ever; those that go on with it keep its words. Errors as of `get`."""

        def write(connection: Connection) -> int:
            query = delete(responses).where(
                responses.c.id == response_id, responses.c.tenant == tenant, responses.c.expires_at > self._clock()
            )
            return int(connection.execute(query).rowcount)

        if not is_stored_id(response_id) or not await self._database.run(write):
            raise _not_found(response_id)

    def _take_room(self, connection: Connection, tenant: str, num_bytes: int) -> None:
        """Counted now and then only: it would take longer than all else where there are many."""
        now = self._clock()
        until, number_left, bytes_left = self._room.get(tenant, (now, 0, 0))
        if now >= until or number_left < 1 or bytes_left < num_bytes:
            counted = select(func.count(), func.sum(responses.c.bytes)).where(responses.c.tenant == tenant)
            number, used = connection.execute(counted).one()
            number_left = self._storage.max_tenant_responses - number
            bytes_left = self._storage.max_tenant_response_bytes - int(used or 0)
            if number_left < 1:
                raise over_quota(self._storage.max_tenant_responses, "responses", number)
            if bytes_left < num_bytes:
                raise over_quota(self._storage.max_tenant_response_bytes, "bytes of responses", int(used or 0))
            until = now + _BELIEVED_S
        self._room[tenant] = (until, number_left - 1, bytes_left - num_bytes)

    async def sweep(self) -> None:
        """Delete what has expired."""
        query = delete(responses).where(responses.c.expires_at <= self._clock())
        await self._database.run(lambda connection: connection.execute(query))


def _size_of(value: object) -> int:
    return len(json.dumps(value))


def _not_found(response_id: str) -> NotFoundError:
    return NotFoundError(f"there is no response '{response_id[:64]}'", param="response_id", code="response_not_found")
