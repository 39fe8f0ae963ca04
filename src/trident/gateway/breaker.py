"""A circuit breaker: a deployment that fails is left alone for a while, then one request finds out whether it is back.

Closed lets everything through; open nothing; half-open is open with a probe under way. It knows no deployment.
Source: M. Nygard, Release It!, "Circuit Breaker".
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from trident.gateway.routing_rules import BreakerLimits

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Of one deployment. Whoever is admitted gives one verdict at most, with the ticket that he got."""

    def __init__(self, limits: BreakerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._recent: deque[bool] = deque(maxlen=limits.window)  # whether it failed, the latest last
        self._num_in_a_row = 0  # failures
        self._num_trips = 0  # since it last was closed
        self._rests_until: float | None = None  # None: closed
        self._probe: object | None = None  # the ticket of the one that finds out

    @property
    def state(self) -> State:
        """As it stands; open also when the next request would be let through as a probe."""
        if self._rests_until is None:
            return "closed"
        return "open" if self._probe is None else "half_open"

    @property
    def rest_s(self) -> float:
        """Seconds until a probe is let through; 0 when one is, or when it is closed."""
        return 0.0 if self._rests_until is None else max(0.0, self._rests_until - self._clock())

    def is_shut(self) -> bool:
        """Whether the next request would be turned away."""
        return self._rests_until is not None and (self._probe is not None or self.rest_s > 0)

    def admit(self) -> object | None:
        """A ticket, or None: this request has to go elsewhere."""
        if self.is_shut():
            return None
        ticket = object()
        if self._rests_until is not None:
            self._probe = ticket
        return ticket

    def succeeded(self, ticket: object) -> None:
        """It answers. While it is not closed only the probe's word counts."""
        if ticket is self._probe:
            self._rests_until = self._probe = None
            self._num_in_a_row = self._num_trips = 0
            self._recent.clear()
        elif self._rests_until is None:
            self._num_in_a_row = 0
            self._recent.append(False)

    def failed(self, ticket: object) -> None:
        """It could not answer, or broke off."""
        if ticket is self._probe:
            self._trip()
        elif self._rests_until is None:
            self._num_in_a_row += 1
            self._recent.append(True)
            if self._num_in_a_row >= self._limits.consecutive_failures or self._fails_often():
                self._trip()

    def left(self, ticket: object) -> None:
        """No verdict: the request ended before one was possible. A probe's place is free again."""
        if ticket is self._probe:
            self._probe = None

    def _fails_often(self) -> bool:
        return (
            len(self._recent) == self._limits.window
            and sum(self._recent) >= self._limits.failure_rate * self._limits.window
        )

    def _trip(self) -> None:
        rest_s = min(self._limits.max_rest_s, self._limits.rest_s * 2.0 ** min(self._num_trips, 30))
        self._rests_until = self._clock() + rest_s
        self._probe = None
        self._num_trips += 1
