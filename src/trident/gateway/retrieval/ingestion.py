"""A document's way into a collection: cut, embedded, counted by the model itself, kept, and found from then on.

A piece of which the model read as much as it can may have been longer, so it is halved. What was embedded before, of
the same document, is not embedded again. Nothing is kept of a document that does not come in whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Row

from trident.errors import NotFoundError
from trident.gateway.retrieval.chunking import Chunk, Chunker
from trident.gateway.retrieval.collection_index import CollectionIndex
from trident.gateway.retrieval.collection_store import CollectionStore, NewDocument, NewPassage
from trident.gateway.retrieval.document_text import (
    check_collection_name,
    check_document_name,
    is_markdown,
    readable,
)
from trident.gateway.retrieval.settings import CollectionSettings
from trident_client import Embeddings

Reader = Callable[[Sequence[str]], Awaitable[Embeddings]]  # texts to vectors of length 1, and tokens that were read
_BATCH = 8  # passages, so that questions are embedded between


class Added(NamedTuple):
    """What became of a document."""

    row: Row[Any]  # of `documents`
    num_embedded: int  # passages


class Ingestion:
    """One document at a time, of whoever's; others wait."""

    def __init__(
        self, settings: CollectionSettings, store: CollectionStore, index: CollectionIndex, read: Reader
    ) -> None:
        self._settings = settings
        self._store = store
        self._index = index
        self._read = read
        self._turn = asyncio.Lock()

    async def add(self, tenant: str, collection: str, name: str, text: str) -> Added:
        """The document, in place of one with its name.

        Raises:
            InvalidRequestError: a name, or a text that is none; more passages than a tenant may have.
            UnavailableError: the embedding model or the database does not answer.
        """
        check_collection_name(collection)
        check_document_name(name)
        text = await asyncio.to_thread(readable, name, text)
        data = text.encode()
        new = NewDocument(tenant, collection, name, hashlib.sha256(data).hexdigest(), len(data))
        async with self._turn:
            await self._store.check_model(tenant, collection, self._settings.model)
            before = None
            with suppress(NotFoundError):
                before = await self._store.document(tenant, collection, name)
            if before is not None and before.sha256 == new.sha256:
                return Added(before, 0)
            rows = () if before is None else await self._store.passages(tenant, before.id)
            parts, num_embedded = await self._embedded(name, text, {row.text: row.vector for row in rows})
            await self._store.put(new, self._settings.model, parts, self._settings.max_tenant_passages)
        await self._index.follow()
        return Added(await self._store.document(tenant, collection, name), num_embedded)

    async def _embedded(self, name: str, text: str, known: Mapping[str, bytes]) -> tuple[list[NewPassage], int]:
        """The passages in their order, and how many of them were embedded now."""
        limit = self._settings.passage_tokens
        chunker = await asyncio.to_thread(Chunker, text, limit, is_markdown=is_markdown(name))
        chunks = await asyncio.to_thread(chunker.chunks)
        done: list[tuple[Chunk, bytes]] = [(chunk, known[chunk.text]) for chunk in chunks if chunk.text in known]
        waiting = [chunk for chunk in chunks if chunk.text not in known]
        num_known = len(done)
        while waiting:
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            found = await self._read([chunk.text for chunk in batch])
            for chunk, vector, num_tokens in zip(batch, found.vectors, found.num_tokens, strict=True):
                halves = chunker.halves(chunk) if num_tokens >= limit else [chunk]
                if len(halves) > 1:
                    waiting += halves
                else:
                    done.append((chunk, np.asarray(vector, "<f4").tobytes()))
        done.sort(key=lambda each: (each[0].start, each[0].end))
        return [NewPassage(chunk.place, chunk.text, vector) for chunk, vector in done], len(done) - num_known
