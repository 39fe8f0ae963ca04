"""When a request is sent again, and how long that waits. It knows nothing of requests.

By default only while nothing of the answer has come: until then nobody has seen anything, and a generation has no
effect but its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trident.errors import InvalidRequestError, QueueFullError, RateLimitError, TridentError, UnavailableError

# On a second attempt: the server has not noticed yet that the connection of the first one broke.
_STILL_RUNS = "a live request has the id"


@dataclass(frozen=True, slots=True)
class Retry:
    """`Retry(0)` never sends anything twice."""

    max_retries: int = 2  # of one request
    first_wait_s: float = 0.2  # doubled each time; half of it is left to chance
    max_wait_s: float = 5.0
    # Also when the answer had begun: it is asked for again, and what was seen already is left out of it. Only for what
    # gives the same answer each time (greedy, or with a seed).
    after_first_token: bool = False

    def allows(self, error: TridentError, num_retries: int, *, has_begun: bool) -> bool:
        """Whether a request that failed, after so many retries, is to be sent once more."""
        if num_retries >= self.max_retries or (has_begun and not self.after_first_token):
            return False
        if num_retries and isinstance(error, InvalidRequestError):
            return error.message.startswith(_STILL_RUNS)
        return isinstance(error, (UnavailableError, QueueFullError, RateLimitError))

    def wait_s(self, num_retries: int, random: Callable[[], float]) -> float:
        """Seconds before the next attempt. `random`: uniform in [0, 1)."""
        longest = min(self.max_wait_s, self.first_wait_s * 2.0**num_retries)
        return longest * (1 + random()) / 2
