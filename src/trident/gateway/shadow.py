"""Shadow traffic: a copy of a request for another deployment, sent when the real answer is whole, and compared.

Nobody sees a shadow's answer, no limit counts it and no text of it is kept. One that is slow, fails or would be one
too many changes nothing for the real answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from uuid import uuid4

from trident.errors import TridentError, UnavailableError
from trident.gateway.asked import Asked, Outcome
from trident.gateway.deployment_state import Place
from trident.gateway.route_statistics import Comparison, RouteStatistics
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion, assemble

_log = logging.getLogger(__name__)


class Shadows:
    """An `Observer`: the end of a real answer sends its copy."""

    def __init__(self, router: Router, upstreams: Upstreams, statistics: RouteStatistics, timeout_s: float) -> None:
        self._router = router
        self._upstreams = upstreams
        self._statistics = statistics
        self._timeout_s = timeout_s
        self._running: set[asyncio.Task[None]] = set()
        self._num_running: Counter[str] = Counter()  # by model

    def began(self, asked: Asked) -> None:
        """Nothing is sent before the real answer is whole."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        decision, completion = outcome.decision, outcome.completion
        if decision is None or decision.shadow in {None, outcome.deployment}:
            return
        if outcome.cache or completion is None or outcome.error is not None or outcome.is_cancelled:
            return
        model, shadow = decision.model, str(decision.shadow)
        place = self._place(model, shadow)
        if place is None:
            self._statistics.left_out(model, outcome.deployment, shadow)
            return
        self._num_running[model] += 1
        task = asyncio.get_running_loop().create_task(self._run(outcome, model, shadow, place, completion))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settle(self) -> None:
        """Wait for the copies that run."""
        if self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """End the copies that run."""
        for task in self._running:
            task.cancel()
        await self.settle()

    def _place(self, model: str, shadow: str) -> Place | None:
        try:
            _, route = self._router.route_of(model)
            if self._num_running[model] >= route.max_shadows:
                return None
            return self._router.enter(shadow)
        except TridentError:  # it has no place; or the file was rewritten
            return None

    async def _run(self, outcome: Outcome, model: str, shadow: str, place: Place, real: Completion) -> None:
        started = time.monotonic()
        answer: Completion | None = None
        try:
            answer = await self._answer(outcome.asked, shadow)
            place.answered()
        except TridentError as exc:
            _log.info("the shadow %s failed: %s", shadow, exc.message)
            if isinstance(exc, UnavailableError):
                place.failed()
        finally:
            place.leave()
            self._num_running[model] -= 1
        comparison = compared(real, outcome.duration_s, answer, time.monotonic() - started)
        self._statistics.compared(model, outcome.deployment, shadow, comparison)

    async def _answer(self, asked: Asked, shadow: str) -> Completion:
        request_id = str(uuid4())
        client = self._upstreams[shadow]
        async with client.stream(
            asked.prompt, asked.sampling, request_id=request_id, timeout_s=self._timeout_s
        ) as stream:
            return assemble(request_id, [delta async for delta in stream])


def compared(real: Completion, real_latency_s: float, shadow: Completion | None, shadow_latency_s: float) -> Comparison:
    """`shadow` None: it failed. An answer that came to its own end wins over one that was cut off or failed."""
    if shadow is None:
        return Comparison(False, "real", real_latency_s, None, len(real.text), None)
    is_equal = [each.text for each in (real, *real.others)] == [each.text for each in (shadow, *shadow.others)]
    ends = [completion.finish_reason != "length" for completion in (real, shadow)]
    winner = "" if is_equal or ends[0] == ends[1] else "real" if ends[0] else "shadow"
    return Comparison(is_equal, winner, real_latency_s, shadow_latency_s, len(real.text), len(shadow.text))
