"""Several servers as one: who gets the next request. What a request is, it does not know.

An endpoint that fails is left alone for a while, which grows; then one request at a time finds out whether it is
back. Among those that are well the one with the fewest requests of this client is taken.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from trident_client.transport import Transport

_FIRST_REST_S = 0.5
_MAX_REST_S = 30.0


@dataclass(frozen=True, slots=True)
class Health:
    """How one endpoint is."""

    url: str
    is_live: bool  # the server answers
    is_ready: bool  # and the client's model can take requests


class Endpoint:
    """One server and what is known of it."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self.transport = transport
        self.num_running: int = 0  # requests of this client
        self.num_failures: int = 0  # since it last answered
        self.rests_until: float = 0.0  # of the pool's clock


class Pool:
    """One endpoint at least."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.endpoints: tuple[Endpoint, ...] = tuple(endpoints)
        self._clock = clock
        self._chance = chance

    def choose(self, tried: Collection[Endpoint] = ()) -> Endpoint:
        """The best endpoint, one that is not in `tried` if another is well; if none is, the one that rests least."""
        if len(self.endpoints) == 1:
            return self.endpoints[0]
        now = self._clock()
        well = [endpoint for endpoint in self.endpoints if endpoint.rests_until <= now]
        if not well:
            return min(self.endpoints, key=lambda endpoint: (endpoint in tried, endpoint.rests_until))
        chosen = min(well, key=lambda endpoint: (endpoint in tried, endpoint.num_running, self._chance()))
        if chosen.num_failures:  # this request finds out; the others go elsewhere meanwhile
            chosen.rests_until = now + _FIRST_REST_S
        return chosen

    def has_another(self, tried: Collection[Endpoint]) -> bool:
        """Whether an endpoint is well that is not in `tried`."""
        now = self._clock()
        return any(endpoint.rests_until <= now and endpoint not in tried for endpoint in self.endpoints)

    def answered(self, endpoint: Endpoint) -> None:
        """It is well."""
        endpoint.num_failures, endpoint.rests_until = 0, 0.0

    def failed(self, endpoint: Endpoint) -> None:
        """It could not be reached, or went away."""
        rest_s = min(_MAX_REST_S, _FIRST_REST_S * 2.0**endpoint.num_failures)
        endpoint.num_failures += 1
        endpoint.rests_until = self._clock() + rest_s
