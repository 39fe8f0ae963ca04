"""Files of tenants: their bytes in a folder, by id, their rows in the database. A row without bytes never is.

Bytes come first, then the row; a row goes first, then the bytes. What a crash leaves between is swept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, func, insert, select

from trident.errors import NotFoundError, RequestTooLargeError
from trident.gateway.config import Storage
from trident.gateway.database import Database
from trident.gateway.openai_api.pages import Order, list_object, page_of
from trident.gateway.openai_api.stored_tables import files, is_stored_id
from trident.gateway.openai_api.upload_form import Form, FormReader

Json = dict[str, Any]
DAY_S = 86_400
_PIECE_BYTES = 256 << 10  # parsed and written at once, in a thread
_PART = ".part"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A row to come; its bytes are there."""

    id: str
    tenant: str
    purpose: str
    filename: str
    num_bytes: int
    expires_s: int | None = None  # after now; None: as the configuration says


class FileStore:
    """Of all tenants; every call names the one."""

    def __init__(
        self, database: Database, folder: Path, storage: Storage, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._folder = folder
        self._storage = storage
        self._clock = clock  # seconds since 1970

    def path_of(self, file_id: str) -> Path:
        """Where its bytes are; `file_id` is one that `new_id` made."""
        return self._folder / file_id

    async def receive(self, pieces: AsyncIterator[bytes], content_type: str, max_file_bytes: int) -> tuple[str, Form]:
        """The bytes of an upload on disk, under a new id that has no row yet; and what the form said.

        Raises:
            InvalidRequestError: the form is broken.
            RequestTooLargeError: the file is larger than `max_file_bytes`.
        """
        file_id = new_id()
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        part = self._folder / (file_id + _PART)
        try:
            with await asyncio.to_thread(_create, part) as target:
                reader = FormReader(content_type, target, max_file_bytes)
                async for piece in _joined(pieces):
                    await asyncio.to_thread(reader.feed, piece)
                form = reader.form()
                await asyncio.to_thread(os.fsync, target.fileno())
            await asyncio.to_thread(part.rename, self.path_of(file_id))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return file_id, form

    async def add(self, new: NewFile) -> Json:
        """The file object of bytes that are there.

        Raises:
            RequestTooLargeError: the tenant keeps as much as it may. The bytes are gone.
        """
        try:
            row = await self._database.run(lambda connection: self.insert(connection, new))
        except BaseException:
            self.path_of(new.id).unlink(missing_ok=True)
            raise
        return file_object(row)

    def insert(self, connection: Connection, new: NewFile) -> Row[Any]:
        """Likewise, inside another transaction; once only for an id."""
        found = connection.execute(select(files).where(files.c.id == new.id)).one_or_none()
        if found is not None:
            return found
        if new.purpose != "batch_output":
            self._check_room(connection, new)
        now = self._clock()
        longest_s = self._storage.file_days * DAY_S
        values = {
            "id": new.id,
            "tenant": new.tenant,
            "created_at": now,
            "expires_at": now + min(longest_s, new.expires_s or longest_s),
            "purpose": new.purpose,
            "filename": new.filename,
            "bytes": new.num_bytes,
        }
        connection.execute(insert(files).values(values))
        return connection.execute(select(files).where(files.c.id == new.id)).one()

    def _check_room(self, connection: Connection, new: NewFile) -> None:
        counted = select(func.count(), func.sum(files.c.bytes)).where(files.c.tenant == new.tenant)
        number, num_bytes = connection.execute(counted).one()
        for used, more, limit, unit in (
            (number, 1, self._storage.max_tenant_files, "files"),
            (num_bytes or 0, new.num_bytes, self._storage.max_tenant_bytes, "bytes of files"),
        ):
            if used + more > limit:
                raise over_quota(limit, unit, used)

    async def get(self, tenant: str, file_id: str) -> Row[Any]:
        """Its row.

        Raises:
            NotFoundError: there is none, it has expired, or it is another tenant's.
        """
        query = select(files).where(files.c.id == file_id, files.c.tenant == tenant, files.c.expires_at > self._clock())
        row = None
        if is_stored_id(file_id):
            row = await self._database.run(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise NotFoundError(f"there is no file '{file_id[:64]}'", param="file_id", code="file_not_found")
        return row

    async def page(self, tenant: str, purpose: str | None, after: str | None, limit: int, order: Order) -> Json:
        """A page of the tenant's; errors as of `page_of`."""
        conditions = {"tenant": tenant, **({} if purpose is None else {"purpose": purpose})}
        kept = files.c.expires_at > self._clock()
        rows, has_more = await self._database.run(
            lambda connection: page_of(connection, files, conditions, after=after, limit=limit, order=order, kept=kept)
        )
        return list_object(rows, has_more, file_object)

    async def delete(self, tenant: str, file_id: str) -> None:
        """For ever; errors as of `get`. What has begun to read it reads on."""
        await self.get(tenant, file_id)
        query = delete(files).where(files.c.id == file_id, files.c.tenant == tenant)
        await self._database.run(lambda connection: connection.execute(query))
        await asyncio.to_thread(self.path_of(file_id).unlink, missing_ok=True)

    async def sweep(self) -> int:
        """Delete what has expired, and bytes that have had no row for a day; how many files."""
        now = self._clock()
        expired = await self._database.run(
            lambda connection: connection.execute(select(files.c.id).where(files.c.expires_at <= now)).scalars().all()
        )
        gone = [*expired, *await self._orphans(now)]
        await self._database.run(lambda connection: connection.execute(delete(files).where(files.c.expires_at <= now)))
        for name in gone:
            await asyncio.to_thread(self.path_of(name).unlink, missing_ok=True)
        return len(gone)

    async def _orphans(self, now: float) -> list[str]:
        old = await asyncio.to_thread(_older_than, self._folder, now - DAY_S)
        known = await self._database.run(lambda connection: set(connection.execute(select(files.c.id)).scalars()))
        return [name for name in old if name not in known]


def over_quota(limit: int, unit: str, used: int) -> RequestTooLargeError:
    """What a tenant is told that keeps as much as it may."""
    told = f"the tenant may keep {limit} {unit} and keeps {used}; delete some first"
    return RequestTooLargeError(told, code="storage_quota_exceeded")


def new_id() -> str:
    """Of a file; nobody can guess it."""
    return f"file-{uuid4().hex}"


def file_object(row: Row[Any]) -> Json:
    """As the API shows it."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": int(row.created_at),
        "expires_at": int(row.expires_at),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }


def _create(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _older_than(folder: Path, time_s: float) -> list[str]:
    names: list[str] = []
    if folder.is_dir():
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < time_s:
                    names.append(entry.name)
    return names


async def _joined(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces that are worth a thread."""
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
