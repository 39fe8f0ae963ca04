"""Server-sent events to one client, and unary answers, each for as long as the client is there.

It knows bytes only: which events there are, and what the last one says when a stream breaks, is the API's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from trident.errors import RequestCancelledError
from trident.gateway.edge.dependencies import gateway_of, request_id_of
from trident.gateway.edge.errors import ApiError, api_error_of
from trident.gateway.patience import cancel_all

T = TypeVar("T")
_PING = b": ping\n\n"
_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}


class EventStream(Response):
    """`events` as they come; `last_event` makes the one that tells of a failure in mid-stream.

    `close` is awaited however it ends, and may be awaited twice: before the end is sent, because who has seen the end
    may ask again at once, and for certain. A client that takes nothing for `write_timeout_s` is cut off; until then one
    event and the transport's buffer wait for it.
    """

    def __init__(
        self,
        request: Request,
        events: AsyncIterator[bytes],
        *,
        close: Callable[[], Awaitable[object]],
        last_event: Callable[[ApiError], bytes],
        headers: Mapping[str, str] | None = None,
        ping: bytes = _PING,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({**_HEADERS, **(headers or {})})
        server = gateway_of(request).config.server
        self._heartbeat_s, self._write_timeout_s = server.heartbeat_s, server.write_timeout_s
        self._request_id = request_id_of(request)
        self._events = events
        self._close = close
        self._last_event = last_event
        self._ping = ping
        self._is_sending = False
        self._since = 0.0  # the loop's time at which the last send began or ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI: three tasks, of which the first that ends ends all."""
        pump = asyncio.ensure_future(self._pump(send))
        gone = asyncio.ensure_future(_wait_until_gone(receive))
        beat = asyncio.ensure_future(self._beat(send))
        try:
            await asyncio.wait((pump, gone, beat), return_when=asyncio.FIRST_COMPLETED)
            if beat.done() and not pump.done() and not gone.done():
                await cancel_all(pump)  # first: writing to a connection that is gone never waits
                await _cut_off(scope, gone)
        finally:
            try:
                await cancel_all(pump, gone, beat)
            finally:
                await self._close()
        if not pump.cancelled():
            pump.result()

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        now = asyncio.get_running_loop().time
        self._since = now()
        try:
            async for event in self._events:
                self._is_sending, self._since = True, now()
                await send({"type": "http.response.body", "body": event, "more_body": True})
                self._is_sending, self._since = False, now()
        except Exception as exc:  # noqa: BLE001 - the head is out, so whatever it is must be an event
            event = self._last_event(api_error_of(exc, self._request_id))
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await self._close()
        self._is_sending = True  # no more heartbeats
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _beat(self, send: Send) -> None:
        """Comments while there is nothing to say; ends when the client does not read."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(min(self._heartbeat_s, self._write_timeout_s) / 2)
            silent_s = now() - self._since
            if self._is_sending:
                if silent_s > self._write_timeout_s:
                    return
            elif self._since and silent_s >= self._heartbeat_s:
                ping = send({"type": "http.response.body", "body": self._ping, "more_body": True})
                try:
                    await asyncio.wait_for(ping, self._write_timeout_s)
                except asyncio.TimeoutError:
                    return
                self._since = now()


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives, which is cancelled as soon as the client has left.

    Raises:
        RequestCancelledError: it has left; nobody will read the answer.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request.receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_done = task.done()
        await cancel_all(task, gone)
    if not is_done:
        raise RequestCancelledError("the client left before its answer was complete")
    return task.result()


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut_off(scope: Scope, gone: asyncio.Future[None]) -> None:
    """Drop the connection and what is written to it (`edge/protocol.py` says how)."""
    abort = scope.get("extensions", {}).get("trident.abort")
    if abort is not None:
        abort()
        await asyncio.wait((gone,), timeout=1)
