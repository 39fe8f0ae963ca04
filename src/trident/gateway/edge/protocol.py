"""One connection, as uvicorn serves it over httptools, within bounds that uvicorn has none for.

How many there may be, how long a request may take to arrive, how large its head may be; and a way to cut one off.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_MAX_HEADERS = 100
_MAX_HEAD_BYTES = 32 << 10
_TOO_MUCH = (
    431, f"a request has at most {_MAX_HEADERS} headers and {_MAX_HEAD_BYTES} bytes of them", "headers_too_large",
)  # fmt: skip
_GRACE_S = 5.0  # for the 408 of a late body to leave, and for a body that nobody wants to end
_MIN_BODY_RATE = 16 << 10  # bytes a second: a file that comes faster may take its time


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """Of a worker; `head_s` also bounds a connection that never says anything."""

    max_connections: int
    head_s: float


class BoundedProtocol(HttpToolsProtocol):
    """`bounded_protocol` makes one with its bounds, since uvicorn takes a class."""

    bounds: ConnectionBounds

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_bytes = 0
        self._is_in_head = False
        self._has_begun = False  # a head, in the bytes that are being read
        self._refusal = (400, "this is not HTTP/1.1", "invalid_value")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refused at once where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.bounds.max_connections:
            self._refuse(503, "too many connections; ask again in a moment", "overloaded")
            return
        self._expect_within(self.bounds.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """httptools gathers a header until it is whole, however long, so what is all head is counted here."""
        if self.transport.is_closing():
            return
        self._has_begun = False
        super().data_received(data)
        if self._is_in_head and not self._has_begun:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(*_TOO_MUCH)
        elif self._deadline is None and self._is_idle():
            self._expect_within(self.bounds.head_s)  # empty lines, which are no request and end no silence

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {"trident.abort": self.transport.abort}  # type: ignore[dict-item]
        self._head_bytes = 0
        self._is_in_head = self._has_begun = True
        self._expect_within(self.bounds.head_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Raises ValueError, which ends the parser: too many, or too much."""
        size = sum(len(each) + len(content) for each, content in self.headers) + len(name) + len(value)
        if len(self.headers) >= _MAX_HEADERS or size > _MAX_HEAD_BYTES:
            self._refusal = _TOO_MUCH
            raise ValueError(_TOO_MUCH)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole; `BodyBounds` answers a late body with 408 before this deadline."""
        self._is_in_head = False
        self._body_bytes = 0
        self._expect_within(self.bounds.head_s + _GRACE_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._expect_nothing()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text says less
        """What cannot be parsed, as an error object too."""
        self._refuse(*self._refusal)

    def _refuse(self, status: int, message: str, code: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        body = orjson.dumps({"error": error})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _is_idle(self) -> bool:
        """No request runs, and not even the wait for the next one."""
        return self.timeout_keep_alive_task is None and (self.cycle is None or self.cycle.response_complete)

    def _expect_within(self, seconds: float) -> None:
        self._expect_nothing()
        self._deadline = self.loop.call_later(seconds, self._cut_off)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        is_wanted = not self._is_in_head and self.cycle is not None and not self.cycle.response_complete
        if is_wanted and self._body_bytes >= _MIN_BODY_RATE * self.bounds.head_s:
            self._body_bytes = 0
            self._expect_within(self.bounds.head_s)
        elif not self.transport.is_closing():
            self.transport.abort()


def bounded_protocol(connection_bounds: ConnectionBounds) -> type[BoundedProtocol]:
    """A class for `uvicorn.Config(http=...)`."""

    class Protocol(BoundedProtocol):
        bounds = connection_bounds

    return Protocol
