"""Shadow traffic: a copy of a request for another deployment, sent when the real answer is whole, and compared.

One that is slow, fails or would be one too many changes nothing for the real answer.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from trident.errors import TridentError
from trident.gateway.asked import Outcome
from trident.gateway.comparison import Comparison, compared
from trident.gateway.copies import Copies
from trident.gateway.deployment_state import Place
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Completion

_log = logging.getLogger(__name__)


class Shadows(Copies):
    """An `Observer`: the end of a real answer sends its copy."""

    def __init__(
        self,
        router: Router,
        upstreams: Upstreams,
        compared_with: Callable[[Outcome, str, Comparison | None], None],
        timeout_s: float,
    ) -> None:
        """`compared_with` is told of each answer, its shadow and how they compare; None: no copy was sent."""
        super().__init__(upstreams, timeout_s)
        self._router = router
        self._compared_with = compared_with
        self._num_running: Counter[str] = Counter()  # by model

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
            self._compared_with(outcome, shadow, None)
            return
        self._num_running[model] += 1
        self._start(self._run(outcome, model, shadow, place, completion))

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
            answer = await self._answer(outcome.asked, shadow, place)
        except TridentError as exc:
            _log.info("the shadow %s failed: %s", shadow, exc.message)
        finally:
            self._num_running[model] -= 1
        comparison = compared(real, outcome.duration_s, answer, time.monotonic() - started)
        self._compared_with(outcome, shadow, comparison)
