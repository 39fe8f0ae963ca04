"""How much was taken of each limit in the last minute, and what runs now: exact, all-or-nothing, in this process.

Any sixty seconds hold at most the limit: what is admitted within one second is kept as one sum that leaves a minute
after the last of it. `shared_windows.py` keeps the same in Redis. It knows no keys, tenants or money.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

WINDOW_S = 60
Kind = Literal["requests", "tokens", "concurrent"]
_SWEEP_S = 60.0  # between two looks for limits that nobody uses any more


@dataclass(frozen=True, slots=True)
class Share:
    """What one request takes of one limit. `of`: the limit's name in the store, made by `limiter.py`."""

    of: str
    owner: str  # "key" or "tenant", for messages
    kind: Kind
    limit: int
    amount: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one limit, at once after a request was let in or refused."""

    share: Share
    remaining: int
    reset_s: float  # until nothing of the limit is taken, if nothing more is


@dataclass(frozen=True, slots=True)
class Refusal:
    """The share that did not fit; `wait_s`: until it would, infinite where it never will."""

    share: Share
    wait_s: float


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer of a store. `second`: where in the window the shares were put, to find them again."""

    second: int
    standings: tuple[Standing, ...]
    refusal: Refusal | None = None
    is_local: bool = True  # counted by this process, not in Redis


class Windows(Protocol):
    """Where limits are counted. `is_local`: in this process alone, so that no call ever waits."""

    is_local: bool

    async def start(self) -> None:
        """Before the first request."""
        ...

    async def take(self, holder: str, shares: Sequence[Share]) -> Taken:
        """All of them or none. `holder`: unique, it holds the concurrent ones."""
        ...

    async def settle(self, holder: str, shares: Sequence[Share], taken: Taken, used: Sequence[int]) -> None:
        """What of each share was really used; of concurrent ones the holder goes."""
        ...

    async def standings(self, shares: Sequence[Share]) -> tuple[Standing, ...]:
        """As they stand now, whatever the shares' amounts; nothing is taken."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@dataclass(slots=True)
class _Window:
    """Of one limit: `sums[second] = [last admission in seconds, amount]`, oldest first."""

    sums: dict[int, list[float]] = field(default_factory=dict)
    total: int = 0

    def expire(self, now: float) -> None:
        while self.sums:
            second = next(iter(self.sums))
            last, amount = self.sums[second]
            if last + WINDOW_S > now:
                return
            self.total -= int(amount)
            del self.sums[second]

    def add(self, now: float, amount: int) -> None:
        entry = self.sums.setdefault(math.floor(now), [now, 0])
        entry[0] = now
        entry[1] += amount
        self.total += amount

    def give_back(self, second: int, amount: int) -> None:
        entry = self.sums.get(second)
        if entry is not None:
            entry[1] -= amount
            self.total -= amount

    def wait_s(self, now: float, needed: int) -> float:
        """Until `needed` of what is taken has left."""
        for last, amount in self.sums.values():
            needed -= int(amount)
            if needed <= 0:
                return last + WINDOW_S - now
        return math.inf

    def reset_s(self, now: float) -> float:
        return next((last + WINDOW_S - now for last, amount in reversed(self.sums.values()) if amount), 0.0)


class MemoryWindows:
    """In this process. When `clock` is set back, time here goes on from where it was; it never runs backwards."""

    is_local = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = clock()
        self._offset = 0.0
        self._windows: dict[str, _Window] = {}
        self._holders: dict[str, set[str]] = {}
        self._swept = self._now

    async def start(self) -> None:
        """Nothing to open."""

    async def take(self, holder: str, shares: Sequence[Share]) -> Taken:
        """As `Windows` says. It never waits, so nothing comes between its parts."""
        now = self._advance()
        refusals = [refusal for share in shares if (refusal := self._refusal(share, now)) is not None]
        if refusals:
            worst = max(refusals, key=lambda refusal: refusal.wait_s)
            return Taken(math.floor(now), self._standings(shares, now), worst)
        for share in shares:
            if share.kind == "concurrent":
                self._holders.setdefault(share.of, set()).add(holder)
            elif share.amount:
                self._windows.setdefault(share.of, _Window()).add(now, share.amount)
        return Taken(math.floor(now), self._standings(shares, now))

    async def settle(self, holder: str, shares: Sequence[Share], taken: Taken, used: Sequence[int]) -> None:
        """As `Windows` says."""
        now = self._advance()
        for share, amount in zip(shares, used, strict=True):
            if share.kind == "concurrent":
                self._leave(share.of, holder)
            elif amount > share.amount:
                self._windows.setdefault(share.of, _Window()).add(now, amount - share.amount)
            elif share.of in self._windows:
                self._windows[share.of].give_back(taken.second, share.amount - amount)

    async def standings(self, shares: Sequence[Share]) -> tuple[Standing, ...]:
        """As `Windows` says."""
        now = self._advance()
        for share in shares:
            if share.of in self._windows:
                self._windows[share.of].expire(now)
        return self._standings(shares, now)

    async def close(self) -> None:
        """Nothing to close."""

    def _advance(self) -> float:
        now = self._clock() + self._offset
        if now < self._now:
            self._offset += self._now - now
            now = self._now
        self._now = now
        if now - self._swept >= _SWEEP_S:
            self._swept = now
            for window in self._windows.values():
                window.expire(now)
            self._windows = {name: window for name, window in self._windows.items() if window.sums}
        return now

    def _refusal(self, share: Share, now: float) -> Refusal | None:
        if share.kind == "concurrent":
            num_running = len(self._holders.get(share.of, ()))
            return Refusal(share, 0.0) if num_running + share.amount > share.limit else None
        window = self._windows.get(share.of)
        if window is None:
            return Refusal(share, math.inf) if share.amount > share.limit else None
        window.expire(now)
        excess = window.total + share.amount - share.limit
        return Refusal(share, window.wait_s(now, excess)) if excess > 0 else None

    def _leave(self, of: str, holder: str) -> None:
        holders = self._holders.get(of, set())
        holders.discard(holder)
        if not holders:
            self._holders.pop(of, None)

    def _standings(self, shares: Sequence[Share], now: float) -> tuple[Standing, ...]:
        found = []
        for share in shares:
            window = self._windows.get(share.of)
            if share.kind == "concurrent":
                found.append(Standing(share, max(0, share.limit - len(self._holders.get(share.of, ()))), 0.0))
            elif window is None:
                found.append(Standing(share, share.limit, 0.0))
            else:
                found.append(Standing(share, max(0, share.limit - window.total), window.reset_s(now)))
        return tuple(found)
