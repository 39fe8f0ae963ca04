"""Whether semantic hits were right: some are asked of the engine after all, and the two answers are compared.

An `Observer`: the copy is sent when the hit has been given. Answers agree when they are near each other as vectors,
which is an estimate: a short answer that differs in one word may be near, a right one in other words may not be.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from trident.errors import TridentError
from trident.gateway.asked import Asked, Outcome
from trident.gateway.cache.embedder import Embed
from trident.gateway.copies import Copies
from trident.gateway.deployment_state import Place
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams

_AGREES = 0.80  # cosine of two answers
_MAX_RUNNING = 2
_log = logging.getLogger(__name__)


class Verification(Copies):
    """Counts, since the start, of this worker process."""

    def __init__(
        self,
        fraction: float,
        embed: Embed,
        router: Router,
        upstreams: Upstreams,
        *,
        timeout_s: float,
        verified: Callable[[bool], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`verified` is told of every hit that was compared, whether its answer was right."""
        super().__init__(upstreams, timeout_s)
        self.num_verified = 0
        self.num_false = 0
        self._fraction = fraction
        self._embed = embed
        self._router = router
        self._verified = verified
        self._chance = chance

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        completion, decision = outcome.completion, outcome.decision
        if outcome.cache != "semantic" or outcome.error is not None or outcome.is_cancelled:
            return
        if decision is None or completion is None or not completion.text or self._chance() >= self._fraction:
            return
        if len(self._running) >= _MAX_RUNNING:
            return
        try:
            place = self._router.enter(decision.candidates[0])
        except TridentError:
            return
        self._start(self._run(outcome.asked, decision.candidates[0], place, completion.text))

    async def _run(self, asked: Asked, deployment: str, place: Place, given: str) -> None:
        try:
            answer = await self._answer(asked, deployment, place)
            one, other = await self._embed([given, answer.text or " "])
        except TridentError as exc:
            _log.info("a semantic hit could not be verified: %s", exc.message)
            return
        is_right = float(one @ other) >= _AGREES
        self.num_verified += 1
        self.num_false += not is_right
        self._verified(is_right)
