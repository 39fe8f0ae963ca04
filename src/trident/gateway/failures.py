"""Who shows wrong keys too often: failures of the last minute by address."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

_WINDOW_S = 60.0
_MAX_ADDRESSES = 10_000


class Failures:
    """Of this process. An IPv6 address counts with its /64, which one client has to itself."""

    def __init__(self, max_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_per_minute
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}  # the address that failed longest ago comes first

    def add(self, address: str) -> None:
        """It showed a wrong key."""
        name = _block_of(address)
        times = self._failed.pop(name, deque(maxlen=self._max))
        times.append(self._clock())
        self._failed[name] = times
        if len(self._failed) > _MAX_ADDRESSES:
            del self._failed[next(iter(self._failed))]

    def wait_s(self, address: str) -> float:
        """Until it may try again; 0: now."""
        times, now = self._failed.get(_block_of(address)), self._clock()
        while times and not 0 <= now - times[0] < _WINDOW_S:  # a clock that was set back forgives
            times.popleft()
        return times[0] + _WINDOW_S - now if times and len(times) >= self._max else 0.0


def _block_of(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.exploded[:19]
