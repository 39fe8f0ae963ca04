"""`/v1/collections`: a tenant's documents: put in, listed, read, removed, searched. Another tenant's do not exist."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.edge.event_stream import unless_gone
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import counted
from trident.gateway.openai_api.reading import body_in_document, check_shape, read_object
from trident.gateway.openai_api.stored_bodies import answer
from trident.gateway.retrieval.retrieval import Collections
from trident.gateway.retrieval.settings import MAX_PASSAGES

router = APIRouter(prefix="/v1/collections", tags=["collections"])
Tenant = Annotated[Identity, Depends(identity_of("collections"))]
Json = dict[str, Any]


class DocumentBody(BaseModel):
    """Of a document; the whole body is bounded by `server.max_body_bytes`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(description="plain text, or Markdown where its name ends with .md; a form feed begins a page")


class SearchBody(BaseModel):
    """Of a search."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1)
    top_k: int | None = Field(None, ge=1, le=MAX_PASSAGES)


@router.get("")
async def list_collections(request: Request, identity: Tenant) -> Response:
    """The tenant's collections, by name."""
    rows = await _collections(request).store.collections(identity.tenant)
    return answer({"object": "list", "data": [_collection_object(row) for row in rows]})


@router.delete("/{collection}")
async def delete_collection(request: Request, identity: Tenant, collection: str) -> Response:
    """Delete a collection with all its documents."""
    kept = _collections(request)
    await kept.store.remove_collection(identity.tenant, collection)
    await kept.index.follow()
    return answer({"name": collection, "object": "collection", "deleted": True})


@router.post("/{collection}/search", openapi_extra=body_in_document(SearchBody))
async def search(request: Request, identity: Tenant, collection: str) -> Response:
    """The passages that are nearest to a question, the best first."""
    kept = _collections(request)
    body = await read_object(request)
    check_shape(SearchBody, body)
    async with counted(request, identity, None) as reservation:
        work = kept.index.find(identity.tenant, collection, body["query"], body.get("top_k") or 5)
        found = await unless_gone(request, work)
    data = [
        {"document": each.document, "place": each.place, "score": round(each.score, 4), "text": each.text}
        for each in found.passages
    ]
    return answer({"object": "list", "version": found.version, "data": data}, reservation.headers())


@router.get("/{collection}/documents")
async def list_documents(request: Request, identity: Tenant, collection: str) -> Response:
    """The documents of a collection, by name."""
    rows = await _collections(request).store.documents(identity.tenant, collection)
    return answer({"object": "list", "data": [_document_object(row) for row in rows]})


@router.put("/{collection}/documents/{document:path}", openapi_extra=body_in_document(DocumentBody))
async def put_document(request: Request, identity: Tenant, collection: str, document: str) -> Response:
    """Put a document in, in place of one with its name. What is the same as before is not embedded again."""
    kept = _collections(request)
    body = await read_object(request)
    check_shape(DocumentBody, body)
    async with counted(request, identity, None) as reservation:
        work = kept.ingestion.add(identity.tenant, collection, document, body["text"])
        added = await unless_gone(request, work)
    return answer({**_document_object(added.row), "embedded": added.num_embedded}, reservation.headers())


@router.get("/{collection}/documents/{document:path}")
async def get_document(request: Request, identity: Tenant, collection: str, document: str) -> Response:
    """A document and its passages, in their order; they overlap."""
    store = _collections(request).store
    row = await store.document(identity.tenant, collection, document)
    passages = await store.passages(identity.tenant, row.id)
    return answer(
        {**_document_object(row), "data": [{"place": passage.place, "text": passage.text} for passage in passages]}
    )


@router.delete("/{collection}/documents/{document:path}")
async def delete_document(request: Request, identity: Tenant, collection: str, document: str) -> Response:
    """Delete a document; the collection stays."""
    kept = _collections(request)
    await kept.store.remove(identity.tenant, collection, document)
    await kept.index.follow()
    return answer({"name": document, "object": "collection.document", "deleted": True})


def _collections(request: Request) -> Collections:
    return gateway_of(request).retrieval.collections


def _collection_object(row: Row[Any]) -> Json:
    return {
        "name": row.name,
        "object": "collection",
        "model": row.model,
        "version": row.version,
        "documents": row.num_documents,
        "passages": int(row.num_passages),
        "created_at": int(row.created_at),
    }


def _document_object(row: Row[Any]) -> Json:
    return {
        "name": row.name,
        "object": "collection.document",
        "bytes": row.bytes,
        "passages": row.num_passages,
        "created_at": int(row.created_at),
    }
