"""What a client of gRPC is told of an error: a status, or in a stream a text alone; nothing of what failed behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from trident.errors import EngineError, NotFoundError, QueueFullError, TridentError, UnavailableError, codes_of
from trident.gateway.edge.errors import api_error_of
from trident.gateway.metrics import Metrics

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
    metadata = (("x-request-id", request_id), *as_metadata(error.headers))
    await context.abort(grpc.StatusCode[status_of(exc)], error.message, metadata)
    raise AssertionError  # `abort` raises


def status_of(exc: Exception) -> str:
    """The name of its status."""
    return codes_of(exc if isinstance(exc, TridentError) else EngineError()).grpc


@contextmanager
def counted(metrics: Metrics, method: str) -> Iterator[None]:
    """Counts what the block comes to; one whose client left before is CANCELLED."""
    status = "CANCELLED"
    try:
        yield
        status = "OK"
    except Exception as exc:
        status = status_of(exc)
        raise
    finally:
        metrics.rpc_answered(method, status)


def error_text(exc: Exception, request_id: str) -> str:
    """Of an error in a stream that goes on."""
    _log_unexpected(exc, request_id)
    message = api_error_of(exc, request_id).message
    word = next((word for cls, word in _WORDS.items() if isinstance(exc, cls)), "")
    return f"{word}: {message}" if word else message


def as_headers(context: Any) -> dict[str, str]:
    """A call's metadata as HTTP's headers, without what is binary."""
    return {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}


def as_metadata(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """HTTP headers as gRPC's, which are ASCII."""
    return [(name.lower(), value.encode("ascii", "replace").decode()) for name, value in headers.items() if value]


def _log_unexpected(exc: Exception, request_id: str) -> None:
    if not isinstance(exc, TridentError):
        _log.error("request %s failed", request_id, exc_info=exc)
