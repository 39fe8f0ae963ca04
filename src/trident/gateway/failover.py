"""The attempts of one request: one deployment after the other is asked until one begins to answer.

It does not know what was given away of an answer already: whether another may still be asked is the exchange's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from trident.errors import TridentError, UnavailableError
from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.attempt import Attempt
from trident.gateway.deployment_state import Place
from trident.gateway.router import Router
from trident.gateway.upstream_errors import DEPLOYMENT_FAILURES
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Delta

MAX_ATTEMPTS = 3  # deployments, so that a request that kills what serves it does not go through all of them

AttemptAt = Callable[[str, Place], Attempt]  # a deployment and the place there


class Failover:
    """`follow`, then `open`, `read` until None, and `end`. Who was asked, and who failed, goes to the outcome."""

    def __init__(self, outcome: Outcome, router: Router, upstreams: Upstreams, attempt_at: AttemptAt = Attempt) -> None:
        self._outcome = outcome
        self._router = router
        self._upstreams = upstreams
        self._attempt_at = attempt_at
        self._candidates: Iterator[tuple[Decision, str]] = iter(())
        self._attempts: list[Attempt] = []

    @property
    def attempt(self) -> Attempt | None:
        """The last one."""
        return self._attempts[-1] if self._attempts else None

    @property
    def engine_s(self) -> float:
        """Of the time of all deployments that were asked, this request's share; 0 before the end."""
        return sum(attempt.engine_s for attempt in self._attempts)

    def follow(self, decisions: Sequence[Decision]) -> None:
        """Where the request may go, in order."""
        self._candidates = iter([(each, name) for each in decisions for name in each.candidates])

    async def open(self, remaining_s: Callable[[], float], failure: TridentError | None = None) -> Delta | None:
        """Ask one candidate after the other, from where it stopped the last time. The first delta; None: there is none.

        `remaining_s` raises when no time is left; `failure`: why the one before did not answer.

        Raises:
            TridentError: the request was refused, or no deployment could begin to answer.
        """
        outcome = self._outcome
        for decision, name in self._candidates:
            if len(outcome.failures) == MAX_ATTEMPTS:
                break
            try:
                place = self._router.enter(name)
            except DEPLOYMENT_FAILURES as exc:
                failure = failure or exc
                continue
            attempt = self._attempt_at(name, place)
            self._attempts.append(attempt)
            outcome.decision, outcome.deployment = decision, name
            try:
                await attempt.open(self._upstreams, self._named(), remaining_s())
                return await attempt.read()
            except DEPLOYMENT_FAILURES as exc:
                failure = exc
                await self.give_up(exc)
        raise failure or UnavailableError(f"model {outcome.asked.model} has no deployment that can answer")

    async def give_up(self, failure: TridentError) -> None:
        """The deployment that was asked last cannot answer."""
        if self.attempt is not None:
            self._outcome.failures[self.attempt.deployment] = failure
            await self.attempt.end()

    async def read(self) -> Delta | None:
        """As `Attempt.read`."""
        return None if self.attempt is None else await self.attempt.read()

    async def stop(self) -> None:
        """As `Attempt.stop`."""
        if self.attempt is not None:
            await self.attempt.stop()

    async def end(self) -> None:
        """As `Attempt.end`."""
        if self.attempt is not None:
            await self.attempt.end()

    def _named(self) -> Asked:
        asked = self._outcome.asked
        return replace(asked, request_id=attempt_id(asked.request_id, len(self._attempts)))


def attempt_id(request_id: str, number: int) -> str:
    """Of the attempt with this number, from 1. The one before may still run, on the same Triton even."""
    return request_id if number == 1 else f"{request_id}-{number}"
