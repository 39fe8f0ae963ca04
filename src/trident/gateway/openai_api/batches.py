"""`/v1/batches`: create, get, list and cancel. https://platform.openai.com/docs/api-reference/batch"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from trident.errors import InvalidRequestError, NotFoundError, RateLimitError
from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.identity import Endpoint, Identity
from trident.gateway.openai_api.batch_object import batch_object, new_batch_id
from trident.gateway.openai_api.batch_run import INPUT
from trident.gateway.openai_api.batch_runner import work_folder
from trident.gateway.openai_api.files import MAX_EXPIRES_S, MIN_EXPIRES_S
from trident.gateway.openai_api.reading import body_in_document, check_shape, read_object
from trident.gateway.openai_api.stored_bodies import answer, metadata_of

router = APIRouter(tags=["OpenAI"])
Caller = Annotated[Identity, Depends(identity_of("batches"))]
ENDPOINTS: dict[str, Endpoint] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}


class ExpiresAfter(BaseModel):
    """Of the files with its answers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: int = Field(ge=MIN_EXPIRES_S, le=MAX_EXPIRES_S)


class BatchBody(BaseModel):
    """Of `/v1/batches`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = Field(None, max_length=16)
    output_expires_after: ExpiresAfter | None = None


@router.post("/v1/batches", openapi_extra=body_in_document(BatchBody))
async def create_batch(request: Request, identity: Caller) -> Response:
    """Ask for all lines of an uploaded file, within 24 hours, behind who waits for an answer."""
    gateway = gateway_of(request)
    body = await read_object(request)
    check_shape(BatchBody, body)
    endpoint, file_id, metadata = body["endpoint"], body["input_file_id"], metadata_of(body)
    identity.check_endpoint(ENDPOINTS[endpoint])
    path = await _input_path(request, identity, file_id)
    batch_id = new_batch_id()
    folder = work_folder(gateway.config.server.data, batch_id)
    await asyncio.to_thread(_link, path, folder, file_id)
    try:
        row = await gateway.stored.batches.create(
            batch_id,
            identity,
            endpoint=endpoint,
            input_file_id=file_id,
            metadata=metadata,
            output_expires_s=(body.get("output_expires_after") or {}).get("seconds"),
        )
    except RateLimitError:  # after any other error its row may be there, and its input has to be
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    return answer(batch_object(row))


@router.get("/v1/batches")
async def list_batches(
    request: Request,
    identity: Caller,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """The tenant's batches, newest first."""
    return answer(await gateway_of(request).stored.batches.page(identity.tenant, after, limit))


@router.get("/v1/batches/{batch_id}")
async def get_batch(request: Request, identity: Caller, batch_id: str) -> Response:
    """Where it stands."""
    return answer(batch_object(await gateway_of(request).stored.batches.get(identity.tenant, batch_id)))


@router.post("/v1/batches/{batch_id}/cancel")
async def cancel_batch(request: Request, identity: Caller, batch_id: str) -> Response:
    """Stop it; what is answered by then is in its output file."""
    return answer(batch_object(await gateway_of(request).stored.batches.cancel(identity.tenant, batch_id)))


async def _input_path(request: Request, identity: Identity, file_id: str) -> Path:
    files = gateway_of(request).stored.files
    try:
        row = await files.get(identity.tenant, file_id)
    except NotFoundError as exc:
        raise NotFoundError(exc.message, param="input_file_id", code="file_not_found") from exc
    if row.purpose != "batch":
        raise InvalidRequestError(
            f"the file '{file_id}' was uploaded for '{row.purpose}'; upload it with purpose 'batch'",
            param="input_file_id",
        )
    return files.path_of(row.id)


def _link(path: Path, folder: Path, file_id: str) -> None:
    """The batch keeps its input when the file is deleted."""
    folder.mkdir(mode=0o700, parents=True)
    try:
        os.link(path, folder / INPUT)
    except FileNotFoundError as exc:
        folder.rmdir()
        raise NotFoundError(f"there is no file '{file_id}'", param="input_file_id", code="file_not_found") from exc
