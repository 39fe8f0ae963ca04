"""`POST /v1/feedback`: what somebody thought of an answer."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trident.errors import NotFoundError
from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.identity import Identity
from trident.gateway.ledger.tables import Row, add_feedback, find_request

router = APIRouter(prefix="/v1", tags=["Feedback"])
_PREFIX = re.compile(r"^(?:chatcmpl-|cmpl-|resp_)")
_THUMBS = {"up": 1.0, "down": 0.0}


class Feedback(BaseModel):
    """A thumb, a score or both, and a few words."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(min_length=1, max_length=128, description="`x-request-id`, or the `id` of the answer")
    thumb: Literal["up", "down"] | None = None
    score: float | None = Field(None, ge=0, le=1)
    text: str | None = Field(None, max_length=4000, pattern=r"^[^\x00]*$")

    @model_validator(mode="after")
    def _says_something(self) -> Feedback:
        if self.thumb is None and self.score is None:
            raise ValueError("give a thumb ('up' or 'down') or a score (0 to 1)")
        return self


def _request_id_in(given: str) -> str:
    """The ids of answers are made of the request's.

    Raises:
        NotFoundError: no id looks like this, so no database need be asked.
    """
    try:
        return str(UUID(_PREFIX.sub("", given)))
    except ValueError as exc:
        raise _unknown(given) from exc


def _unknown(given: str) -> NotFoundError:
    return NotFoundError(f"there is no request {given}", param="request_id", code="request_not_found")


@router.post("/feedback")
async def give_feedback(
    request: Request, body: Feedback, identity: Annotated[Identity, Depends(identity_of(None))]
) -> dict[str, Any]:
    """Judge an answer of the same tenant; a key's second judgement of it replaces the first."""
    gateway = gateway_of(request)
    request_id = _request_id_in(body.request_id)

    def find(connection: Any) -> Row | None:
        return find_request(connection, identity.tenant, request_id)

    found = await gateway.database.run(find)
    if found is None:  # it may have ended a moment ago
        await gateway.ledger.flush()
        found = await gateway.database.run(find)
    if found is None:
        raise _unknown(body.request_id)
    score = _THUMBS[body.thumb or "up"] if body.score is None else body.score
    row = {
        "request_id": request_id,
        "tenant": identity.tenant,
        "key_id": identity.key_id,
        "created_at": time.time(),
        "score": score,
        "thumb": body.thumb,
        "text": body.text,
    }
    await gateway.database.run(lambda connection: add_feedback(connection, row))
    return {"object": "feedback", "request_id": request_id, "score": score}
