"""What a client is told of an error: OpenAI's error object, and under /v2 KServe's, from one table in `trident.errors`.

Texts of what failed behind the gateway stay in the log; a client gets a fixed sentence and the request's id.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    QueueFullError,
    QuotaError,
    RateLimitError,
    RequestCancelledError,
    TridentError,
    UnavailableError,
    codes_of,
)
from trident.gateway.edge.validation import refusal_of

_RETRY_AFTER_S = 1.0  # where nothing better is known
_INVALID = "invalid_request_error"
_FIXED: dict[type[TridentError], str] = {
    QueueFullError: "the servers behind this model are full; ask again in a moment",
    UnavailableError: "no server behind this model can answer now; ask again in a moment",
}
_HTTP_CODES = {
    404: "unknown_url",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
}
_log = logging.getLogger(__name__)


class ErrorObject(BaseModel):
    """OpenAI's, for the API's document."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error, but under /v2."""

    error: ErrorObject


@dataclass(frozen=True, slots=True)
class ApiError:
    """As it leaves: a status that every client knows, and the four members of OpenAI's error object."""

    status: int
    message: str
    type: str = _INVALID
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def openai_object(self) -> dict[str, Any]:
        """`{"error": {...}}`, all four members always there."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def api_error_of(exc: Exception, request_id: str) -> ApiError:
    """Of any exception; what is not a `TridentError`, or a framework's refusal, is an internal error.

    What the client is not told, the log is.
    """
    if isinstance(exc, (RequestValidationError, ValidationError)):
        exc = refusal_of(exc.errors(), has_place=isinstance(exc, RequestValidationError))
    if isinstance(exc, TridentError):
        return _of_trident(exc, request_id)
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        code = _HTTP_CODES.get(exc.status_code, "invalid_value")
        kind = "timeout" if exc.status_code == 408 else _INVALID
        return ApiError(exc.status_code, str(exc.detail), kind, code=code, headers=exc.headers or {})
    _log.error("request %s failed", request_id, exc_info=exc)
    return ApiError(500, _internal(request_id), "server_error")


def error_response(path: str, error: ApiError) -> Response:
    """In the form of the API that `path` belongs to."""
    body = {"error": error.message} if is_kserve(path) else error.openai_object()
    return Response(orjson.dumps(body), error.status, dict(error.headers), "application/json")


def is_kserve(path: str) -> bool:
    """Whether errors at `path` have KServe's form."""
    return path == "/v2" or path.startswith("/v2/")


def add_error_handlers(app: FastAPI) -> None:
    """For everything that an endpoint raises on purpose; the rest is `Envelope`'s."""

    async def answer(request: Request, exc: Exception) -> Response:
        return error_response(request.url.path, api_error_of(_named(request, exc), request.state.request_id))

    for kind in (TridentError, RequestValidationError, ValidationError, HTTPException):
        app.add_exception_handler(kind, answer)


def _of_trident(exc: TridentError, request_id: str) -> ApiError:
    codes = codes_of(exc)
    status = 400 if isinstance(exc, RequestCancelledError) else codes.http  # 499 is nginx's own
    kind = exc.kind if isinstance(exc, RateLimitError) else codes.openai_type
    message = exc.message
    if status >= 500:
        _log.warning("request %s failed: %s: %s", request_id, type(exc).__name__, message)
        message = _fixed_message(exc, request_id)
    return ApiError(status, message, kind, exc.param, exc.code or codes.openai_code, _headers_of(exc))


def _fixed_message(exc: TridentError, request_id: str) -> str:
    for cls, message in _FIXED.items():
        if isinstance(exc, cls):
            return f"{message} (request {request_id})"
    return _internal(request_id)


def _internal(request_id: str) -> str:
    return f"the server failed on this request; its operator finds it in the log as {request_id}"


def _headers_of(exc: TridentError) -> dict[str, str]:
    """openai's clients obey `retry-after-ms`, `retry-after` and `x-should-retry`, in this order."""
    if isinstance(exc, AuthenticationError):
        return {"www-authenticate": "Bearer"}
    if isinstance(exc, QuotaError):
        return {"x-should-retry": "false", **({} if exc.retry_after_s is None else _retry_after(exc.retry_after_s))}
    if isinstance(exc, RateLimitError):
        return {**exc.headers, **_retry_after(exc.retry_after_s)}
    if isinstance(exc, (QueueFullError, UnavailableError)):
        return _retry_after(_RETRY_AFTER_S)
    if isinstance(exc, DeadlineExceededError):
        return {"x-should-retry": "false"}  # it would take as long again
    return {}


def _retry_after(seconds: float) -> dict[str, str]:
    return {"retry-after": str(math.ceil(seconds)), "retry-after-ms": str(math.ceil(seconds * 1000))}


def _named(request: Request, exc: Exception) -> Exception:
    """Starlette's bare "Not Found" and "Method Not Allowed" with what was asked."""
    if (
        isinstance(exc, HTTPException)
        and exc.status_code in {404, 405}
        and exc.detail in {"Not Found", "Method Not Allowed"}
    ):
        asked = f"{request.method} {request.url.path[:200]}"
        text = f"there is no {asked}" if exc.status_code == 404 else f"{asked}: this method is not allowed here"
        return HTTPException(exc.status_code, text, exc.headers)
    return exc
