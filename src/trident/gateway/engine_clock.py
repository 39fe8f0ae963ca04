"""How much of a deployment's time each request took, where many run at once: its share, moment by moment.

While n requests run, each of them is charged an n-th of the time that goes by (processor sharing, L. Kleinrock, 1967).
So the shares of all requests add up to the time in which any ran: what a machine costs is never charged twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class EngineClock:
    """Of one deployment, as far as one gateway sees it. Seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._num_running = 0
        self._share_s = 0.0  # what one request that ran all the time would have been charged
        self._changed_at = clock()

    def enter(self) -> float:
        """A request begins; give the answer to `leave`."""
        self._advance()
        self._num_running += 1
        return self._share_s

    def leave(self, entered: float) -> float:
        """It is over; what it is charged."""
        self._advance()
        self._num_running -= 1
        return self._share_s - entered

    def _advance(self) -> None:
        now = self._clock()
        if self._num_running:
            self._share_s += (now - self._changed_at) / self._num_running
        self._changed_at = now
