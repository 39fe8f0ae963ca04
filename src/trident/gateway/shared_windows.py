"""The windows of several gateways, in Redis: one script takes every share of a request or none.

While Redis is away, this process counts by itself from nothing (`MemoryWindows`), so that no request fails for it; what
ended meanwhile is settled when Redis is back. What runs holds its place for a minute and renews it, so a gateway that
was killed gives back what it held.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from trident.errors import SettingsError
from trident.gateway.windows import WINDOW_S, MemoryWindows, Refusal, Share, Standing, Taken

_log = logging.getLogger(__name__)
_SCRIPTS = Path(__file__).parent / "lua"
_PATIENCE_S = 1.0
_MAX_CONNECTIONS = 32
_AWAY_S = 1.0  # between two attempts while Redis is away
_LEASE_S = float(WINDOW_S)
_RENEW_S = _LEASE_S / 3
_MAX_UNSETTLED = 10_000

_Settlement = tuple[str, Sequence[Share], Taken, Sequence[int]]


class SharedWindows:
    """As `Windows`. `is_away`: Redis does not answer."""

    is_local = False

    def __init__(
        self,
        url: str,
        on_local: Callable[[], None] = lambda: None,
        *,
        patience_s: float = _PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        """`on_local` is told of every request that this process counts by itself because Redis is away.

        `patience_s`: for an answer and for a connection; `clock`: for attempts; `wall_ms`: in place of Redis's clock.

        Raises:
            SettingsError: not a Redis URL.
        """
        self._redis = _connect(url, patience_s)
        self._on_local = on_local
        self._local = MemoryWindows()
        self._clock = clock
        self._wall_ms = wall_ms
        prologue = (_SCRIPTS / "clock.lua").read_text(encoding="utf-8")
        self._take, self._settle, self._renew, self._look = (
            self._redis.register_script(prologue + (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("take", "settle", "renew", "look")
        )
        self.is_away = False
        self._next_attempt = 0.0
        self._running: dict[str, set[str]] = {}  # holders of each limit of concurrent requests, in Redis
        self._unsettled: deque[_Settlement] = deque(maxlen=_MAX_UNSETTLED)
        self._renewing: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to renew what runs. Redis need not be there."""
        self._renewing = asyncio.get_running_loop().create_task(self._renew_forever())

    async def close(self) -> None:
        """Close the connections."""
        tasks = [task for task in (self._renewing, self._settling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._redis.aclose()

    async def take(self, holder: str, shares: Sequence[Share]) -> Taken:
        """As `Windows` says."""
        if self._may_ask():
            arguments = [value for share in shares for value in (share.kind, share.limit, share.amount)]
            try:
                answer = await self._take(
                    _keys(holder, shares), [self._wall(), holder, round(_LEASE_S * 1000), *arguments]
                )
            except (RedisError, OSError) as exc:
                self._went(exc)
            else:
                self._came_back()
                return self._taken(holder, shares, answer)
        self._on_local()
        return await self._local.take(holder, shares)

    async def settle(self, holder: str, shares: Sequence[Share], taken: Taken, used: Sequence[int]) -> None:
        """As `Windows` says; kept for later while Redis is away."""
        if taken.is_local:
            await self._local.settle(holder, shares, taken, used)
            return
        for share in shares:
            self._running.get(share.of, set()).discard(holder)
        if self._may_ask():
            try:
                await self._settle_now((holder, shares, taken, used))
            except (RedisError, OSError) as exc:
                self._went(exc)
            else:
                return
        self._unsettled.append((holder, shares, taken, used))

    async def standings(self, shares: Sequence[Share]) -> tuple[Standing, ...]:
        """As `Windows` says, a call for each tenant; while Redis is away, as this process alone counts."""
        if not self._may_ask():
            return await self._local.standings(shares)
        found: dict[str, Standing] = {}
        try:
            for clock, of_tenant in groupby(sorted(shares, key=_of), key=lambda share: _clock_key(share.of)):
                known = list(of_tenant)
                states = await self._look(
                    [clock, *(share.of for share in known)], [self._wall(), *(share.kind for share in known)]
                )
                found |= {standing.share.of: standing for standing in _standings(known, states)}
        except (RedisError, OSError) as exc:
            self._went(exc)
            return await self._local.standings(shares)
        self._came_back()
        return tuple(found[share.of] for share in shares)

    async def renew(self) -> None:
        """What runs goes on holding its place; to be called more often than once a minute."""
        self._running = {of: holders for of, holders in self._running.items() if holders}
        for of, holders in list(self._running.items()):
            if not self._may_ask():
                return
            try:
                await self._renew([_clock_key(of), of], [self._wall(), round(_LEASE_S * 1000), *holders])
            except (RedisError, OSError) as exc:
                self._went(exc)
            else:
                self._came_back()

    def _taken(self, holder: str, shares: Sequence[Share], answer: Sequence[int]) -> Taken:
        second, refused, wait_ms, *states = (int(value) for value in answer)
        standings = _standings(shares, states)
        if refused:
            wait_s = math.inf if wait_ms < 0 else wait_ms / 1000
            return Taken(second, standings, Refusal(shares[refused - 1], wait_s), is_local=False)
        for share in shares:
            if share.kind == "concurrent":
                self._running.setdefault(share.of, set()).add(holder)
        return Taken(second, standings, is_local=False)

    async def _settle_now(self, settlement: _Settlement) -> None:
        holder, shares, taken, used = settlement
        arguments = [
            value for share, amount in zip(shares, used, strict=True) for value in (share.kind, share.amount, amount)
        ]
        await self._settle(_keys(holder, shares), [self._wall(), holder, taken.second, *arguments])

    def _may_ask(self) -> bool:
        """Whether to try: while Redis is away, one request a second does and waits for it; the others do not."""
        now = self._clock()
        if self.is_away and now < self._next_attempt:
            return False
        self._next_attempt = now + _AWAY_S
        return True

    def _went(self, exc: Exception) -> None:
        if not self.is_away:
            _log.warning("Redis is away (%s): limits are counted by each gateway alone", type(exc).__name__)
        self.is_away = True

    def _came_back(self) -> None:
        if self.is_away:
            _log.warning("Redis is back: limits are shared again")
            self.is_away = False
        if self._unsettled and (self._settling is None or self._settling.done()):
            self._settling = asyncio.get_running_loop().create_task(self._settle_late())

    async def _settle_late(self) -> None:
        while self._unsettled:
            settlement = self._unsettled.popleft()
            try:
                await self._settle_now(settlement)
            except (RedisError, OSError) as exc:
                self._unsettled.appendleft(settlement)
                self._went(exc)
                return

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self.renew()

    def _wall(self) -> str:
        return "" if self._wall_ms is None else str(self._wall_ms())


def _connect(url: str, patience_s: float) -> Redis:
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=patience_s,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            # a connection that Redis's restart broke is opened again; what may have been done is not done twice
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
    except ValueError as exc:
        raise SettingsError(f"server.redis: {exc}") from exc
    return Redis.from_pool(pool)


def _standings(shares: Sequence[Share], states: Sequence[int]) -> tuple[Standing, ...]:
    """`states`: as the scripts answer, used and ms until reset of each."""
    return tuple(
        Standing(share, max(0, share.limit - states[2 * number]), states[2 * number + 1] / 1000)
        for number, share in enumerate(shares)
    )


def _of(share: Share) -> str:
    return share.of


def _clock_key(of: str) -> str:
    """Beside a limit: Redis Cluster keeps together what has the same text in braces."""
    return of.partition("}")[0] + "}:clock"


def _keys(holder: str, shares: Sequence[Share]) -> list[str]:
    clock = _clock_key(shares[0].of)
    return [clock, clock.removesuffix("clock") + f"held:{holder}", *[share.of for share in shares]]
