"""One request over HTTP: a POST to `generate` for one answer, to `generate_stream` for server-sent events."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    QuotaError,
    RateLimitError,
    RequestTooLargeError,
    TridentError,
    UnavailableError,
    UnsupportedParameterError,
)
from trident_client.completion import Delta
from trident_client.failure import ANY, closed, cut_off, error_of, error_of_text, not_triton, unreachable
from trident_client.json_format import EventSplitter, error_text, to_body, to_delta, to_object
from trident_client.request import Request

HEADERS = (("content-type", "application/json"), ("accept-encoding", "identity"))
_DONE = b"[DONE]"  # how a gateway in OpenAI's manner ends a stream

# HTTP status -> leaves that it may stand for; the first when the wording says nothing.
_LEAVES: dict[int, tuple[type[TridentError], ...]] = {
    400: (InvalidRequestError, *ANY),  # release 24.10 answers so whatever went wrong
    401: (AuthenticationError,),
    403: (PermissionDeniedError,),
    404: (NotFoundError,),
    408: (DeadlineExceededError,),
    413: (RequestTooLargeError,),
    429: (RateLimitError, QuotaError),
    500: (EngineError, InvalidRequestError),  # a value of the wrong JSON type is a 500
    501: (UnsupportedParameterError,),
    502: (UnavailableError,),  # of a gateway
    503: (UnavailableError, QueueFullError),
    504: (UnavailableError,),
}


class HttpCall:
    """A `Call` over HTTP."""

    def __init__(self, client: httpx.AsyncClient, request: Request, url: str, extensions: Mapping[str, Any]) -> None:
        self._client = client
        self._request = request
        self._url = url
        self._extensions = extensions
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes]
        self._splitter = EventSplitter()
        self._events: deque[bytes] = deque()
        self._has_begun = False  # a response has come
        self._is_closed = False

    async def read(self) -> Delta | None:
        """The next delta; the end of the stream is the end of the body."""
        try:
            if self._response is None:
                self._response = await self._send()
                self._pieces = self._response.aiter_raw()
            while (event := await self._next_event()) is not None:
                delta = self._parsed(event)
                if delta is not None:
                    return delta
        except (httpx.TransportError, httpx.StreamError, RuntimeError) as exc:
            raise self._translated(exc) from exc
        return None

    async def close(self) -> None:
        """Close the connection if the body has not been read to its end."""
        self._is_closed = True
        if self._response is not None:
            await self._response.aclose()

    async def _send(self) -> httpx.Response:
        verb = "generate_stream" if self._request.is_streaming else "generate"
        request = self._client.build_request(
            "POST",
            f"{path_of(self._request.model)}/{verb}",
            content=to_body(self._request),
            headers=[*HEADERS, *self._request.headers],
            extensions={**self._extensions},
        )
        response = await self._client.send(request, stream=True)
        if response.status_code != HTTPStatus.OK:
            raise error_of_status(response.status_code, await response.aread())
        return response

    async def _next_event(self) -> bytes | None:
        """The next payload: an event of a stream, or the whole body of a single answer."""
        while not self._events:
            piece = await anext(self._pieces, None)
            if piece is None:
                rest, self._splitter.rest = self._splitter.rest, b""
                if rest and self._request.is_streaming:
                    raise cut_off(self._url, "the last event is incomplete")
                return rest or None
            if self._request.is_streaming:
                self._events.extend(self._splitter.feed(piece))
            else:
                self._splitter.rest += piece
        return self._events.popleft()

    def _parsed(self, payload: bytes) -> Delta | None:
        if payload == _DONE:
            return None
        try:
            answer = to_object(payload)
            if "error" not in answer:
                self._has_begun = True
                return to_delta(answer)
        except ValueError as exc:
            raise not_triton(self._url, str(exc), "HTTP") from exc
        raise error_of_text(error_text(answer), has_begun=self._has_begun)

    def _translated(self, exc: Exception) -> TridentError:
        """The one place where an error of the connection becomes one of ours."""
        if self._is_closed or isinstance(exc, httpx.StreamError):
            return closed()
        if isinstance(exc, RuntimeError):  # so httpx says that its client was closed
            return UnavailableError("the client was closed")
        detail = str(exc) or type(exc).__name__
        return unreachable(self._url, detail) if self._response is None else cut_off(self._url, detail)


def error_of_status(status: int, body: bytes) -> TridentError:
    """The one place where an HTTP status becomes an error of ours; `body`: what came with it."""
    try:
        text = error_text(to_object(body.strip().removeprefix(b"data:")))  # generate_stream wraps even a refusal
    except (ValueError, KeyError):
        text = f"HTTP status {status}"
    among = _LEAVES.get(status, (EngineError,))
    return error_of(text, among, among[0])


def path_of(model: str) -> str:
    """Of a model, as KServe v2 has it."""
    return f"/v2/models/{quote(model, safe='')}"
