"""What the gateway knows of one deployment while it runs: requests in flight, its breaker, what its engine says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from trident.errors import QueueFullError, UnavailableError
from trident.gateway.breaker import Breaker
from trident.gateway.config import Deployment
from trident.gateway.engine_clock import EngineClock

STALE_S = 3.0  # after which a reading of the engine's metrics says nothing


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One reading of an engine's own queue."""

    num_sequences: float  # running and waiting
    capacity: float  # sequences that can run at once; at least 1


class DeploymentState:
    """Of one deployment. A rewritten file that moves it elsewhere makes another."""

    def __init__(self, name: str, deployment: Deployment, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.deployment = deployment
        self.breaker = Breaker(deployment.breaker, clock)
        self.num_running = 0  # of this gateway's requests
        self.engine_clock = EngineClock(clock)
        self.engine = ""  # what runs there, as it says itself; empty: not known
        self.served = ""  # the engine that was last seen there, as "name@version"
        self._num_lives = 0  # of the server, as far as anybody saw
        self._clock = clock
        self._reading: EngineLoad | None = None
        self._read_at = 0.0
        self._num_running_then = 0

    def update(self, deployment: Deployment) -> None:
        """The same server with other limits."""
        if deployment.breaker != self.deployment.breaker:
            self.breaker = Breaker(deployment.breaker, self._clock)
        self.deployment = deployment

    def read(self, load: EngineLoad) -> None:
        """What the engine says now."""
        self._reading, self._read_at, self._num_running_then = load, self._clock(), self.num_running

    def identify(self, engine: str) -> None:
        """What runs there now; empty: it does not answer, and whatever answers next is another life."""
        if engine:
            self.engine = f"{engine}#{self._num_lives}"
        elif self.engine:
            self.engine = ""
            self._num_lives += 1

    def num_sequences(self) -> float | None:
        """On the engine, of whomever, as last read and with what this gateway began or ended since; None: not known."""
        if self._reading is None or self._clock() - self._read_at > STALE_S:
            return None
        return max(0.0, self._reading.num_sequences + self.num_running - self._num_running_then)

    def load(self) -> float | None:
        """Sequences for each place in the engine's batch; more than 1 wait. None: not known."""
        num_sequences = self.num_sequences()
        return None if num_sequences is None or self._reading is None else num_sequences / self._reading.capacity

    def obstacle(self) -> str:
        """Why the next request would not be let in; empty when it would."""
        if self.breaker.is_shut():
            return f"it failed; asked again in {self.breaker.rest_s:.1f} s" if self.breaker.rest_s else "being probed"
        limit = self.deployment.max_concurrent
        return "" if limit is None or self.num_running < limit else f"{limit} of {limit} requests run"

    def enter(self) -> Place:
        """A place for one request.

        Raises:
            QueueFullError: as many run as the deployment may have.
            UnavailableError: its breaker is open.
        """
        limit = self.deployment.max_concurrent
        if limit is not None and self.num_running >= limit:
            raise QueueFullError(f"deployment {self.name}: {limit} of {limit} requests run")
        ticket = self.breaker.admit()
        if ticket is None:
            raise UnavailableError(f"deployment {self.name} failed lately and is left alone for a moment")
        return Place(self, self.breaker, ticket)


class Place:
    """Of one request at one deployment, until it leaves."""

    def __init__(self, state: DeploymentState, breaker: Breaker, ticket: object) -> None:
        state.num_running += 1
        self._state = state
        self._breaker = breaker
        self._ticket = ticket
        self._has_left = False
        self._entered = state.engine_clock.enter()
        self.engine_s = 0.0  # that the request is charged, once it has left

    def answered(self) -> None:
        """It has begun to answer, or has refused as a server that is well does."""
        self._breaker.succeeded(self._ticket)

    def failed(self) -> None:
        """It could not begin, or broke off."""
        self._breaker.failed(self._ticket)

    def leave(self) -> None:
        """The request is over there. The second call does nothing."""
        if not self._has_left:
            self._has_left = True
            self._state.num_running -= 1
            self.engine_s = self._state.engine_clock.leave(self._entered)
            self._breaker.left(self._ticket)
