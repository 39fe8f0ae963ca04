"""Asks this process's own application for the lines of a batch: as over HTTP, in the name of the batch's maker.

So a line is checked, limited, routed, counted and answered as the same request from outside.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from trident.gateway.identity import Identity

MAX_TRIES = 3  # of what fails inside; what is only too busy is asked again until the batch ends
_MAX_WAIT_S = 60.0  # also for a new day's budget: of this one's, what runs may give something back
_BUSY = frozenset({429, 503})
_FAILED = frozenset({500, 502, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """As an HTTP answer."""

    status: int
    request_id: str
    body: Any
    wait_s: float = 0.0  # before it is worth asking again
    is_hopeless: bool = False  # a limit or a budget that it never fits: waiting does not help


class BatchClient:
    """For one batch."""

    def __init__(self, app: ASGIApp, identity: Identity, room: asyncio.Semaphore) -> None:
        """`room`: for requests of all batches of this process; who waits to ask again takes none of it."""

        async def named(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "trident.identity": identity}, receive, send)

        transport = httpx.ASGITransport(named, raise_app_exceptions=False, client=("batch", 0))
        self._room = room
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=None)  # noqa: S113 - an exchange has its own
        self._num_asked = 0  # lines that have no answer yet
        self._wakes: list[float] = []  # of those that wait to be asked again, when; by the loop's clock

    @property
    def rest_s(self) -> float:
        """Until the first of the lines is asked again, where all wait for that; 0 where one is being asked."""
        if not self._wakes or len(self._wakes) < self._num_asked:
            return 0.0
        return max(0.0, min(self._wakes) - asyncio.get_running_loop().time())

    async def ask(self, endpoint: str, body: Any) -> Reply:
        """The answer to one line, or the refusal that stays when it is asked again."""
        num_tries = 0
        self._num_asked += 1
        try:
            while True:
                async with self._room:
                    reply = await self._post(endpoint, body)
                num_tries += reply.status in _FAILED
                if reply.status not in _BUSY | _FAILED or reply.is_hopeless or num_tries == MAX_TRIES:
                    return reply
                await self._wait(reply.wait_s)
        finally:
            self._num_asked -= 1

    async def close(self) -> None:
        """After the last line."""
        await self._client.aclose()

    async def _wait(self, wait_s: float) -> None:
        wake = asyncio.get_running_loop().time() + wait_s
        self._wakes.append(wake)
        try:
            await asyncio.sleep(wait_s)
        finally:
            self._wakes.remove(wake)

    async def _post(self, endpoint: str, body: Any) -> Reply:
        content = orjson.dumps(body)
        response = await self._client.post(endpoint, content=content, headers={"content-type": "application/json"})
        request_id = response.headers.get("x-request-id", "")
        try:
            answer = orjson.loads(response.content)
        except orjson.JSONDecodeError:  # it broke off
            error = {"message": "the answer broke off", "type": "server_error", "param": None, "code": None}
            return Reply(500, request_id, {"error": error}, 1.0)
        is_hopeless = response.status_code == 429 and _is_final(response.headers, answer)
        return Reply(response.status_code, request_id, answer, _wait_s(response.headers), is_hopeless)


def _is_final(headers: httpx.Headers, answer: Any) -> bool:
    """Whether what was refused for a limit always will be; a spent budget says when there is a new one."""
    is_spent = answer.get("error", {}).get("code") == "insufficient_quota" and "retry-after-ms" in headers
    return headers.get("x-should-retry") == "false" and not is_spent


def _wait_s(headers: httpx.Headers) -> float:
    milliseconds = headers.get("retry-after-ms", "1000")
    return min(_MAX_WAIT_S, max(0.1, float(milliseconds) / 1000))
