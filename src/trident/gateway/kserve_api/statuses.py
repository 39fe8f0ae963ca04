"""What a client of gRPC is told of an error: a status, or in a stream a text alone; nothing of what failed behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc

from trident.errors import EngineError, NotFoundError, QueueFullError, TridentError, UnavailableError, codes_of
from trident.gateway.edge.errors import api_error_of

# By which Triton's clients, ours among them, know the errors of a stream.
_WORDS: dict[type[TridentError], str] = {
    UnavailableError: "unavailable",
    QueueFullError: "queue is full",
    NotFoundError: "unknown model",
}
_log = logging.getLogger(__name__)


async def abort(context: Any, exc: Exception, request_id: str) -> NoReturn:
    """End the call with the status of `exc`; what is not a TridentError is an internal one, and logged."""
    _log_unexpected(exc, request_id)
    error = api_error_of(exc, request_id)
    codes = codes_of(exc if isinstance(exc, TridentError) else EngineError())
    metadata = (("x-request-id", request_id), *as_metadata(error.headers))
    await context.abort(grpc.StatusCode[codes.grpc], error.message, metadata)
    raise AssertionError  # `abort` raises


def error_text(exc: Exception, request_id: str) -> str:
    """Of an error in a stream that goes on."""
    _log_unexpected(exc, request_id)
    message = api_error_of(exc, request_id).message
    word = next((word for cls, word in _WORDS.items() if isinstance(exc, cls)), "")
    return f"{word}: {message}" if word else message


def as_metadata(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """HTTP headers as gRPC's, which are ASCII."""
    return [(name.lower(), value.encode("ascii", "replace").decode()) for name, value in headers.items() if value]


def _log_unexpected(exc: Exception, request_id: str) -> None:
    if not isinstance(exc, TridentError):
        _log.error("request %s failed", request_id, exc_info=exc)
