"""Where one request is sent, and where next when that fails: endpoints, retries, and the server's idea of the model."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from trident.errors import TridentError, UnavailableError
from trident_client.pool import Endpoint, Pool
from trident_client.request import Request
from trident_client.retry import Retry
from trident_client.transport import Call, Transport

Prepare = Callable[[Transport], Awaitable[Request]]
Cancel = Callable[[str, Endpoint], Awaitable[None]]


class Attempts:
    """Of one request.

    `prepare` makes it for the server that it is to be sent to; `cancel` ends it there; `background` holds what goes on
    after the request is over.
    """

    def __init__(
        self,
        request_id: str,
        pool: Pool,
        retry: Retry,
        prepare: Prepare,
        cancel: Cancel,
        background: set[asyncio.Task[None]],
    ) -> None:
        self.request_id = request_id
        self.endpoint: Endpoint | None = None  # of the present attempt, while it runs
        self.num_retries: int = 0
        self._pool = pool
        self._retry = retry
        self._prepare = prepare
        self._cancel = cancel
        self._background = background
        self._tried: list[Endpoint] = []

    async def begin(self) -> Call:
        """Choose an endpoint; nothing is sent to it yet but questions about its model."""
        endpoint = self.endpoint = self._pool.choose(self._tried)
        endpoint.num_running += 1
        self._tried.append(endpoint)
        try:
            return endpoint.transport.open(await self._prepare(endpoint.transport))
        except asyncio.CancelledError:  # the next read will begin again
            self.end()
            raise

    def answered(self) -> None:
        """The first of the answer has come."""
        if self.endpoint is not None:
            self._pool.answered(self.endpoint)

    def end(self) -> Endpoint | None:
        """The present attempt is over; where it was."""
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            endpoint.num_running -= 1
        return endpoint

    async def may_go_on(self, error: TridentError, *, has_begun: bool) -> bool:
        """After a failure: whether to begin again, having waited as long as is due."""
        endpoint = self.end()
        if endpoint is not None and isinstance(error, UnavailableError):
            self._pool.failed(endpoint)
        if not self._retry.allows(error, self.num_retries, has_begun=has_begun):
            return False
        if endpoint is not None and isinstance(error, UnavailableError):
            await self._make_sure(endpoint)
        if not self._pool.has_another(self._tried):
            await asyncio.sleep(self._retry.wait_s(self.num_retries, random.random))
            self._tried.clear()
        self.num_retries += 1
        return True

    async def cancel(self, endpoint: Endpoint) -> None:
        """End the request there; whether the server is still there does not matter."""
        with contextlib.suppress(TridentError):
            await self._cancel(self.request_id, endpoint)

    def cancel_soon(self, endpoint: Endpoint) -> asyncio.Task[None]:
        """Likewise, in a task of its own, which goes on when the caller's is cancelled."""
        task = asyncio.get_running_loop().create_task(self.cancel(endpoint))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _make_sure(self, endpoint: Endpoint) -> None:
        """A connection that broke leaves the request running, if the server is still there; it is not to run twice.

        Asked twice, because the first question may still go out over the connection that broke.
        """
        if await endpoint.transport.is_live() or await endpoint.transport.is_live():
            await self.cancel(endpoint)
