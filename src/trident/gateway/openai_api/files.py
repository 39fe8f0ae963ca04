"""`/v1/files`: upload, list, read and delete. https://platform.openai.com/docs/api-reference/files"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from trident.errors import InvalidRequestError, NotFoundError, RequestCancelledError
from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.identity import Identity
from trident.gateway.openai_api.file_store import NewFile, file_object
from trident.gateway.openai_api.pages import Order
from trident.gateway.openai_api.stored_bodies import answer

router = APIRouter(tags=["OpenAI"])
Tenant = Annotated[Identity, Depends(identity_of("files"))]
# Only a batch reads files here; the others are kept for who uploaded them.
PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
MIN_EXPIRES_S, MAX_EXPIRES_S = 3600, 30 * 86_400
_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"enum": [*PURPOSES]},
        "expires_after[anchor]": {"enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": MIN_EXPIRES_S, "maximum": MAX_EXPIRES_S},
    },
}
_IN_DOCUMENT = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


@router.post("/v1/files", openapi_extra=_IN_DOCUMENT)
async def create_file(request: Request, identity: Tenant) -> Response:
    """Upload a file, of at most `server.max_file_bytes`."""
    gateway = gateway_of(request)
    try:
        file_id, form = await gateway.stored.files.receive(
            request.stream(), request.headers.get("content-type", ""), gateway.config.server.max_file_bytes
        )
    except ClientDisconnect as exc:
        raise RequestCancelledError("the client left before its file was complete") from exc
    try:
        purpose, expires_s = _purpose(form.fields), _expires_s(form.fields)
    except InvalidRequestError:
        gateway.stored.files.path_of(file_id).unlink(missing_ok=True)
        raise
    new = NewFile(file_id, identity.tenant, purpose, form.filename or "", form.num_bytes, expires_s)
    return answer(await gateway.stored.files.add(new))


@router.get("/v1/files")
async def list_files(
    request: Request,
    identity: Tenant,
    purpose: Annotated[str | None, Query(pattern="^[a-z_-]+$", max_length=32)] = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Order = "desc",
) -> Response:
    """The tenant's files, newest first."""
    return answer(await gateway_of(request).stored.files.page(identity.tenant, purpose, after, limit, order))


@router.get("/v1/files/{file_id}")
async def get_file(request: Request, identity: Tenant, file_id: str) -> Response:
    """What is known of a file."""
    return answer(file_object(await gateway_of(request).stored.files.get(identity.tenant, file_id)))


@router.get("/v1/files/{file_id}/content", response_class=FileResponse)
async def get_content(request: Request, identity: Tenant, file_id: str) -> FileResponse:
    """Its bytes."""
    store = gateway_of(request).stored.files
    row = await store.get(identity.tenant, file_id)
    path = store.path_of(row.id)
    if not path.is_file():  # deleted a moment ago
        raise NotFoundError(f"there is no file '{row.id}'", param="file_id", code="file_not_found")
    return FileResponse(path, media_type="application/octet-stream", filename=row.filename)


@router.delete("/v1/files/{file_id}")
async def delete_file(request: Request, identity: Tenant, file_id: str) -> Response:
    """Delete it; a batch that has begun keeps its input."""
    await gateway_of(request).stored.files.delete(identity.tenant, file_id)
    return answer({"id": file_id, "object": "file", "deleted": True})


def _purpose(fields: Mapping[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise InvalidRequestError("'purpose' is required", param="purpose", code="missing_required_parameter")
    if purpose not in PURPOSES:
        raise InvalidRequestError(f"purpose must be one of {', '.join(PURPOSES)}, got '{purpose}'", param="purpose")
    return purpose


def _expires_s(fields: Mapping[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequestError("expires_after[anchor] must be 'created_at'", param="expires_after.anchor")
    if seconds is None or not seconds.isascii() or not seconds.isdigit() or not _is_lifetime(int(seconds[:9])):
        raise InvalidRequestError(
            f"expires_after[seconds] must be {MIN_EXPIRES_S} to {MAX_EXPIRES_S}", param="expires_after.seconds"
        )
    return int(seconds)


def _is_lifetime(seconds: int) -> bool:
    return MIN_EXPIRES_S <= seconds <= MAX_EXPIRES_S
