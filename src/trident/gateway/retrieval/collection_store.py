"""Collections in the database: every change is one transaction that makes another version of the collection.

It knows no model: passages come with their vectors. The rows of a tenant are read with the tenant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Row, delete, exc, func, insert, select, update

from trident.errors import InvalidRequestError, NotFoundError
from trident.gateway.database import Database
from trident.gateway.retrieval.tables import collections, documents, passages

MAX_COLLECTIONS = 1000  # of a tenant: who follows them asks for all


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to come, in place of one with the same name."""

    tenant: str
    collection: str
    name: str
    sha256: str
    num_bytes: int


class NewPassage(NamedTuple):
    """One of its passages, in their order."""

    place: str
    text: str
    vector: bytes  # float32, little-endian, of length 1


class CollectionStore:
    """Of all tenants; `clock`: seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def collections(self, tenant: str) -> Sequence[Row[Any]]:
        """The tenant's, by name: `collections`' columns, `num_documents` and `num_passages`."""
        counts = (
            func.count(documents.c.id).label("num_documents"),
            func.coalesce(func.sum(documents.c.num_passages), 0).label("num_passages"),
        )
        query = (
            select(collections, *counts)
            .outerjoin(documents, documents.c.collection_id == collections.c.id)
            .where(collections.c.tenant == tenant)
            .group_by(*collections.c)
            .order_by(collections.c.name)
        )
        return await self._database.run(lambda connection: connection.execute(query).all())

    async def documents(self, tenant: str, collection: str) -> Sequence[Row[Any]]:
        """Of a collection, by name.

        Raises:
            NotFoundError: the tenant has no such collection.
        """

        def read(connection: Connection) -> Sequence[Row[Any]]:
            parent = _collection(connection, tenant, collection)
            query = select(documents).where(documents.c.collection_id == parent.id, documents.c.tenant == tenant)
            rows: Sequence[Row[Any]] = connection.execute(query.order_by(documents.c.name)).all()
            return rows

        return await self._database.run(read)

    async def document(self, tenant: str, collection: str, name: str) -> Row[Any]:
        """One of them; NotFoundError where there is none."""

        def read(connection: Connection) -> Row[Any]:
            row = _document(connection, tenant, _collection(connection, tenant, collection).id, name)
            if row is None:
                raise _no_document(collection, name)
            return row

        return await self._database.run(read)

    async def passages(self, tenant: str, document_id: str) -> Sequence[Row[Any]]:
        """Of a document, in its order; none where it is gone."""
        query = select(passages).where(passages.c.document_id == document_id, passages.c.tenant == tenant)
        return await self._database.run(lambda connection: connection.execute(query.order_by(passages.c.number)).all())

    async def versions(self) -> Sequence[Row[Any]]:
        """The collections of all tenants, for who follows them."""
        return await self._database.run(lambda connection: connection.execute(select(collections)).all())

    async def document_names(self, tenant: str, collection_id: str) -> dict[str, str]:
        """Of a collection: id = name."""
        query = select(documents.c.id, documents.c.name)
        query = query.where(documents.c.collection_id == collection_id, documents.c.tenant == tenant)
        rows = await self._database.run(lambda connection: connection.execute(query).all())
        return {row.id: row.name for row in rows}

    async def check_model(self, tenant: str, collection: str, model: str) -> None:
        """Raises InvalidRequestError: another model embedded the collection."""

        def read(connection: Connection) -> None:
            with suppress(NotFoundError):
                _check_model(connection, _collection(connection, tenant, collection), model)

        await self._database.run(read)

    async def put(self, new: NewDocument, model: str, parts: Sequence[NewPassage], max_passages: int) -> None:
        """The document, in place of one with its name; its collection is made where there is none.

        Raises:
            InvalidRequestError: the tenant would have more than `max_passages`, or another model embedded the
                collection.
        """
        await self._database.run(lambda connection: self._put(connection, new, model, parts, max_passages))

    async def remove(self, tenant: str, collection: str, name: str) -> None:
        """A document, for ever; NotFoundError where there is none."""

        def write(connection: Connection) -> None:
            parent = _changed(connection, tenant, collection)
            row = None if parent is None else _document(connection, tenant, parent.id, name)
            if row is None:
                raise _no_document(collection, name)
            _delete(connection, row.id)

        await self._database.run(write)

    async def remove_collection(self, tenant: str, collection: str) -> None:
        """With all its documents; NotFoundError where there is none."""

        def write(connection: Connection) -> None:
            parent = _changed(connection, tenant, collection)
            if parent is None:
                raise no_collection(collection)
            connection.execute(delete(passages).where(passages.c.collection_id == parent.id))
            connection.execute(delete(documents).where(documents.c.collection_id == parent.id))
            connection.execute(delete(collections).where(collections.c.id == parent.id))

        await self._database.run(write)

    def _put(
        self, connection: Connection, new: NewDocument, model: str, parts: Sequence[NewPassage], max_passages: int
    ) -> None:
        parent = self._made(connection, new, model)
        _check_model(connection, parent, model, parts)
        before = _document(connection, new.tenant, parent.id, new.name)
        if before is not None:
            _delete(connection, before.id)
        total = select(func.coalesce(func.sum(documents.c.num_passages), 0)).where(documents.c.tenant == new.tenant)
        num_held = int(connection.execute(total).scalar_one())
        if num_held + len(parts) > max_passages:
            raise InvalidRequestError(
                f"the document has {len(parts)} passages and the tenant {num_held}; together at most {max_passages} "
                "are kept: remove documents first",
                code="too_many_passages",
            )
        shared = {"tenant": new.tenant, "collection_id": parent.id}
        row = {
            **shared, "id": uuid4().hex, "name": new.name, "sha256": new.sha256, "bytes": new.num_bytes,
            "num_passages": len(parts), "created_at": self._clock(),
        }  # fmt: skip
        connection.execute(insert(documents), row)
        rows = [
            {**shared, "document_id": row["id"], "number": number, **part._asdict()}
            for number, part in enumerate(parts)
        ]
        connection.execute(insert(passages), rows)

    def _made(self, connection: Connection, new: NewDocument, model: str) -> Row[Any]:
        """The collection with another version; who changes it next waits for this transaction."""
        while (parent := _changed(connection, new.tenant, new.collection)) is None:
            mine = select(func.count()).select_from(collections).where(collections.c.tenant == new.tenant)
            if connection.execute(mine).scalar_one() >= MAX_COLLECTIONS:
                raise InvalidRequestError(
                    f"a tenant has at most {MAX_COLLECTIONS} collections: remove one first", param="collection"
                )
            row = {
                "id": uuid4().hex, "tenant": new.tenant, "name": new.collection, "model": model, "version": 0,
                "created_at": self._clock(),
            }  # fmt: skip
            with suppress(exc.IntegrityError), connection.begin_nested():  # another may have made it meanwhile
                connection.execute(insert(collections), row)
        return parent


def no_collection(name: str) -> NotFoundError:
    """Whether another tenant has one of this name is nobody's business."""
    return NotFoundError(
        f"there is no collection '{name[:64]}'; `trident rag add {name[:64]} FILE` makes it",
        param="collection",
        code="collection_not_found",
    )


def _no_document(collection: str, name: str) -> NotFoundError:
    text = f"the collection '{collection[:64]}' has no document '{name[:80]}'"
    return NotFoundError(text, param="document", code="document_not_found")


def _check_model(connection: Connection, parent: Row[Any], model: str, parts: Sequence[NewPassage] = ()) -> None:
    """A name may come to mean another model; no index holds vectors of different dimensions."""
    held = select(func.length(passages.c.vector)).where(passages.c.collection_id == parent.id).limit(1)
    sizes = {*connection.execute(held).scalars(), *(len(part.vector) for part in parts)}
    if parent.model != model or len(sizes) > 1:
        now = "another of that name" if parent.model == model else f"'{model}'"
        raise InvalidRequestError(
            f"the collection '{parent.name}' was embedded by '{parent.model}', this gateway embeds by {now}; "
            "remove it and add its documents again",
            param="collection",
        )


def _collection(connection: Connection, tenant: str, name: str) -> Row[Any]:
    if "\0" in name:  # PostgreSQL does not even look for it
        raise no_collection(name)
    query = select(collections).where(collections.c.tenant == tenant, collections.c.name == name)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise no_collection(name)
    return row


def _changed(connection: Connection, tenant: str, name: str) -> Row[Any] | None:
    query = update(collections).where(collections.c.tenant == tenant, collections.c.name == name)
    if "\0" in name or not connection.execute(query.values(version=collections.c.version + 1)).rowcount:
        return None
    return _collection(connection, tenant, name)


def _document(connection: Connection, tenant: str, collection_id: str, name: str) -> Row[Any] | None:
    query = select(documents).where(
        documents.c.collection_id == collection_id, documents.c.tenant == tenant, documents.c.name == name
    )
    return None if "\0" in name else connection.execute(query).one_or_none()


def _delete(connection: Connection, document_id: str) -> None:
    connection.execute(delete(passages).where(passages.c.document_id == document_id))
    connection.execute(delete(documents).where(documents.c.id == document_id))
