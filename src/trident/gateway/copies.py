"""Copies of requests, asked of a deployment when the real answer has been given.

Nobody sees their answers, no limit counts them and no text of them is kept. It does not know what they are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from trident.errors import UnavailableError
from trident.gateway.asked import Asked
from trident.gateway.deployment_state import Place
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion, assemble


class Copies:
    """Those that run."""

    def __init__(self, upstreams: Upstreams, timeout_s: float) -> None:
        self._upstreams = upstreams
        self._timeout_s = timeout_s
        self._running: set[asyncio.Task[None]] = set()

    def began(self, asked: Asked) -> None:
        """As an observer of exchanges: nothing is sent before the real answer is whole."""

    async def settle(self) -> None:
        """Wait for the copies that run."""
        if self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """End the copies that run."""
        for task in self._running:
            task.cancel()
        await self.settle()

    def _start(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(run)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, asked: Asked, deployment: str, place: Place) -> Completion:
        """The whole answer; the place is left whatever happens. Raises as the client's stream does."""
        request_id = str(uuid4())
        try:
            sampling = self._upstreams.sampling_at(deployment, asked)
            async with self._upstreams[deployment].stream(
                asked.prompt, sampling, request_id=request_id, timeout_s=self._timeout_s
            ) as stream:
                answer = assemble(request_id, [delta async for delta in stream])
        except UnavailableError:
            place.failed()
            raise
        else:
            place.answered()
            return answer
        finally:
            place.leave()
