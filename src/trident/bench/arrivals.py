"""When the requests of an open loop are due: nobody waits for an answer, as users do not wait for each other."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from trident.errors import InvalidRequestError


def arrivals_s(rate_per_s: float, burstiness: float, rng: random.Random) -> Iterator[float]:
    """Seconds after the start, without end, at a mean of `rate_per_s`.

    The gaps have a gamma distribution of shape `burstiness`: 1 is a Poisson process, less comes in bursts (the gaps'
    deviation is `burstiness ** -0.5` of their mean), more is more even, inf is a metronome.

    Raises:
        InvalidRequestError: a rate or a burstiness that is not above 0.
    """
    if not (0 < rate_per_s < math.inf and burstiness > 0):
        raise InvalidRequestError(f"rate {rate_per_s:g} and burstiness {burstiness:g} must be above 0")
    return _arrivals_s(1 / rate_per_s, burstiness, rng)


def _arrivals_s(gap_s: float, burstiness: float, rng: random.Random) -> Iterator[float]:
    due_s = 0.0
    while True:
        yield due_s
        due_s += gap_s if burstiness == math.inf else rng.gammavariate(burstiness, gap_s / burstiness)
