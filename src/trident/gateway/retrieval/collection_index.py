"""The passages of all collections as vectors in this process: a `Retriever` that follows the database.

It is filled at the start and asks every `poll_s` which collections have another version, so documents that came by
another worker or gateway are found then, and those that came by this one at once. Nothing is embedded but questions.
While the database is away it goes on with what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from trident.errors import InvalidRequestError, TridentError
from trident.gateway.cache.embedder import Embed
from trident.gateway.cache.vectors import Item, Vectors
from trident.gateway.retrieval.collection_store import CollectionStore, no_collection
from trident.gateway.retrieval.retriever import Found, Passage

_FOR_EVER_S = 100 * 365 * 86_400.0
_PAUSE_EVERY = 16  # passages that are put in without letting others have the loop: some milliseconds
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """A collection as far as it is in the index."""

    id: str
    tenant: str
    model: str
    version: int
    num_dimensions: int = 0
    document_ids: set[str] = field(default_factory=set)


class CollectionIndex:
    """`start`, then `find`; `follow` after a change of one's own."""

    def __init__(self, store: CollectionStore, vectors: Vectors, embed: Embed, model: str, poll_s: float) -> None:
        """`vectors`: for passages alone, and bounded by nothing; `model`: the name of what `embed` asks."""
        self._store = store
        self._vectors = vectors
        self._embed = embed
        self._model = model
        self._poll_s = poll_s
        self._held: dict[tuple[str, str], _Held] = {}  # by tenant and name
        self._turn = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fill it; errors as of the database."""
        await self._vectors.start()
        await self.follow()
        self._following = asyncio.get_running_loop().create_task(self._keep_following())

    async def close(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._vectors.close()

    async def find(self, tenant: str, collection: str, question: str, k: int) -> Found:
        """See `Retriever`."""
        held = self._held.get((tenant, collection))
        if held is None:
            raise no_collection(collection)
        version = f"{held.id[:8]}.{held.version}"
        vector = (await self._embed([question.encode("utf-8", "replace").decode()]))[0]
        if held.model != self._model or held.num_dimensions not in {0, len(vector)}:
            raise InvalidRequestError(
                f"the collection '{collection}' was embedded by another model ('{held.model}', "
                f"{held.num_dimensions} dimensions) than questions are now; remove it and add its documents again",
                param="collection",
            )
        near = await self._vectors.nearest(held.id, vector, k)
        found = []
        for each in near:
            document, place, text = json.loads(each.payload)
            if each.tenant == tenant:
                found.append(Passage(document, place, text, each.cosine))
        return Found(version, found)

    async def follow(self) -> None:
        """Read what has another version than is held here.

        Raises:
            UnavailableError: the database does not answer.
        """
        async with self._turn:
            rows = {(row.tenant, row.name): row for row in await self._store.versions()}
            for key, held in list(self._held.items()):
                if key not in rows or rows[key].id != held.id:
                    del self._held[key]
                    await self._forget(held.document_ids)
            for key, row in rows.items():
                known = self._held.get(key)
                if known is None or known.version != row.version:
                    await self._read(key, row)

    async def _keep_following(self) -> None:
        is_away = False
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.follow()
            except (TridentError, SQLAlchemyError) as exc:
                if not is_away:
                    _log.warning("new documents are not found now: %s", str(exc).partition("\n")[0])
                is_away = True
            else:
                is_away = False

    async def _read(self, key: tuple[str, str], row: Row[Any]) -> None:
        held = self._held.get(key) or _Held(row.id, row.tenant, row.model, row.version)
        names = await self._store.document_names(row.tenant, row.id)
        new = names.keys() - held.document_ids
        try:
            for document_id in new:
                await self._add(held, document_id, names[document_id])
        except BaseException:  # what is here and not known to be would stay when the document goes
            held.document_ids -= new
            await self._forget(new)
            raise
        gone = held.document_ids - names.keys()
        held.document_ids -= gone
        held.version = row.version
        self._held[key] = held
        await self._forget(gone)

    async def _add(self, held: _Held, document_id: str, name: str) -> None:
        rows = await self._store.passages(held.tenant, document_id)
        for number, row in enumerate(rows):
            if number % _PAUSE_EVERY == _PAUSE_EVERY - 1:
                await asyncio.sleep(0)
            vector = np.frombuffer(row.vector, "<f4").astype(np.float32)
            if held.num_dimensions not in {0, len(vector)}:  # it was emptied and filled by another model meanwhile
                await self._forget(held.document_ids)
                held.document_ids.clear()
            held.num_dimensions = len(vector)
            payload = json.dumps([name, row.place, row.text], ensure_ascii=False)
            item = Item(
                held.id, f"{document_id}:{row.number}", vector, payload, _FOR_EVER_S,
                tenant=held.tenant, tags=frozenset({document_id}),
            )  # fmt: skip
            await self._vectors.add(item)
        held.document_ids.add(document_id)

    async def _forget(self, document_ids: Sequence[str] | set[str]) -> None:
        for document_id in document_ids:
            await self._vectors.drop(tag=document_id)
