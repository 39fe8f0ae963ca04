"""How much a key and its tenant may ask: reserved before a request runs, settled when it is known what it took.

Requests, tokens and what runs at once are in `windows.py` or, for several gateways, in Redis (`shared_windows.py`);
money is in the database (`spending.py`). It knows no keys and no routes.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from trident.errors import QuotaError, RateLimitError, SettingsError, TridentError
from trident.gateway.config import Server
from trident.gateway.database import Database
from trident.gateway.identity import Identity, Limits
from trident.gateway.shared_windows import SharedWindows
from trident.gateway.spending import Budget, Spending, Spent
from trident.gateway.windows import WINDOW_S, Kind, MemoryWindows, Refusal, Share, Standing, Taken, Windows

_log = logging.getLogger(__name__)
_BUSY_RETRY_S = 1.0  # when too many run at once: nobody knows when one ends
_UNITS: dict[Kind, str] = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrent": "at once"}


class Reservation:
    """What one request holds of its key's and its tenant's limits until it is settled."""

    def __init__(
        self,
        limiter: Limiter,
        holder: str,
        shares: tuple[Share, ...] = (),
        taken: Taken | None = None,
        budgets: tuple[Budget, ...] = (),
        spent: Spent | None = None,
    ) -> None:
        self._limiter = limiter
        self._holder = holder
        self._shares = shares
        self._taken = taken
        self._budgets = budgets
        self._spent = spent
        self._is_open = taken is not None or spent is not None

    def headers(self) -> Mapping[str, str]:
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as they stood when it was made."""
        return {} if self._taken is None else headers_of(self._taken.standings)

    async def settle(self, num_tokens: int, cost: float) -> None:
        """The request is over: it took so many tokens and so much money. The second call does nothing.

        Raises nothing, and goes on to its end when its caller is cancelled.
        """
        await self._close(num_tokens, cost, num_requests=1)

    async def cancel(self) -> None:
        """Give everything back, the request itself too: it never ran."""
        await self._close(0, 0.0, num_requests=0)

    async def _close(self, num_tokens: int, cost: float, num_requests: int) -> None:
        if not self._is_open:
            return
        self._is_open = False
        is_local = self._spent is None and self._taken is not None and self._taken.is_local
        ending = self._end(num_tokens, cost, num_requests)
        await (ending if is_local else self._limiter.finish(ending))  # a local one never waits

    async def _end(self, num_tokens: int, cost: float, num_requests: int) -> None:
        amounts: dict[Kind, int] = {"requests": num_requests, "tokens": num_tokens, "concurrent": 0}
        if self._taken is not None:
            used = [amounts[share.kind] for share in self._shares]
            await self._limiter.windows.settle(self._holder, self._shares, self._taken, used)
        if self._spent is not None and self._limiter.spending is not None:
            await self._limiter.spending.settle(self._budgets, self._spent, cost)


class Limiter:
    """Of all keys and tenants. Without `spending` no identity may have a daily budget."""

    def __init__(self, windows: Windows | None = None, spending: Spending | None = None) -> None:
        self.windows: Windows = MemoryWindows() if windows is None else windows
        self.spending = spending
        self._finishing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Before the first request; the database is open."""
        await self.windows.start()
        if self.spending is not None:
            await self.spending.start()

    async def close(self) -> None:
        """Settle what still waits for it."""
        while self._finishing:
            await asyncio.gather(*self._finishing)
        await self.windows.close()

    async def reserve(self, identity: Identity, num_tokens: int, cost: float) -> Reservation:
        """Room for a request of at most about so many tokens, that costs at most about so much; all of it or nothing.

        Raises:
            RateLimitError: too many requests, tokens or concurrent requests; says when to ask again.
            QuotaError: the day's budget does not hold it; says when the next one may.
        """
        holder, shares, budgets = str(uuid4()), shares_of(identity, num_tokens), budgets_of(identity)
        if not shares and not budgets:
            return Reservation(self, holder)
        if self.windows.is_local and not budgets:
            return await self._reserve(holder, shares, budgets, cost)  # it never waits
        reserving = asyncio.ensure_future(self._reserve(holder, shares, budgets, cost))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._begin(_abandon(reserving))
            raise

    async def finish(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run to its end whatever becomes of the caller; a failure goes to the log."""
        await asyncio.shield(self._begin(coroutine))

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_logged(coroutine))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        return task

    async def _reserve(
        self, holder: str, shares: tuple[Share, ...], budgets: tuple[Budget, ...], cost: float
    ) -> Reservation:
        taken = await self.windows.take(holder, shares) if shares else None
        if taken is not None and taken.refusal is not None:
            raise _too_much(taken.refusal, taken.standings)
        reservation = Reservation(self, holder, shares, taken)
        if not budgets:
            return reservation
        try:
            spent = await self._spend(budgets, cost)
        except BaseException:
            await reservation.cancel()
            raise
        return Reservation(self, holder, shares, taken, budgets, spent)

    async def _spend(self, budgets: tuple[Budget, ...], cost: float) -> Spent:
        if self.spending is None:
            raise SettingsError("a daily budget needs the gateway's database")
        spent = await self.spending.reserve(budgets, cost)
        if spent.refused is not None:
            smallest = min(budget.amount for budget in budgets)
            if cost > smallest:
                told = f"the daily budget of {smallest:g} never holds this, which may cost {cost:g}; ask for less"
                raise QuotaError(told)
            raise QuotaError(
                f"the daily budget of {spent.refused.amount:g} does not hold this; it is new at midnight UTC",
                retry_after_s=self.spending.day_ends_in_s(),
            )
        return spent


def open_limiter(server: Server, database: Database, on_local: Callable[[], None]) -> Limiter:
    """As the file says: in memory, or shared through Redis. `on_local`: as of `SharedWindows`.

    Raises:
        SettingsError: `redis` is not a Redis URL.
    """
    windows: Windows = MemoryWindows() if server.redis is None else SharedWindows(server.redis, on_local)
    return Limiter(windows, Spending(database))


def headers_of(standings: tuple[Standing, ...]) -> dict[str, str]:
    """Of each kind the limit that is nearest to its end."""
    headers = {}
    for kind in ("requests", "tokens"):
        of_kind = [standing for standing in standings if standing.share.kind == kind]
        if of_kind:
            tightest = min(of_kind, key=lambda standing: standing.remaining)
            headers[f"x-ratelimit-limit-{kind}"] = str(tightest.share.limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(tightest.remaining)
            headers[f"x-ratelimit-reset-{kind}"] = duration_text(tightest.reset_s)
    return headers


def duration_text(seconds: float) -> str:
    """As OpenAI's headers have it: `20ms`, `1.5s`, `1m0s`."""
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{text}" if minutes else text


def _subjects(identity: Identity) -> tuple[tuple[str, str, Limits], ...]:
    """Whose limits hold: how a message calls it, how the store does, and the limits."""
    tenant = quote(identity.tenant, safe="")
    return (
        ("key", f"trident:{{{tenant}}}:key:{quote(identity.key_id, safe='')}", identity.key_limits),
        ("tenant", f"trident:{{{tenant}}}:tenant", identity.tenant_limits),
    )


def shares_of(identity: Identity, num_tokens: int) -> tuple[Share, ...]:
    """What a request of about so many tokens takes of the windows of its key and its tenant."""
    found: list[Share] = []
    for owner, name, limits in _subjects(identity):
        bounds: tuple[tuple[Kind, int | None, int], ...] = (
            ("requests", limits.requests_per_minute, 1),
            ("tokens", limits.tokens_per_minute, num_tokens),
            ("concurrent", limits.concurrent_requests, 1),
        )
        found += [Share(f"{name}:{kind}", owner, kind, limit, amount) for kind, limit, amount in bounds if limit]
    return tuple(found)


def budgets_of(identity: Identity) -> tuple[Budget, ...]:
    """The daily budgets of its key and its tenant."""
    return tuple(
        Budget(name, limits.daily_budget) for _, name, limits in _subjects(identity) if limits.daily_budget is not None
    )


def _too_much(refusal: Refusal, standings: tuple[Standing, ...]) -> RateLimitError:
    share = refusal.share
    headers = headers_of(standings)
    whose = f"the limit of this {share.owner}"
    if math.isinf(refusal.wait_s):
        message = f"the request may take {share.amount} tokens, {whose} is {share.limit} a minute; ask for fewer"
        headers["x-should-retry"] = "false"
        return RateLimitError(message, retry_after_s=WINDOW_S, kind="tokens", headers=headers)
    if share.kind == "concurrent":
        message = f"{whose} is {share.limit} requests at once; ask again when one has ended"
        return RateLimitError(message, retry_after_s=_BUSY_RETRY_S, headers=headers)
    wait = duration_text(refusal.wait_s)
    message = f"{whose} is {share.limit} {_UNITS[share.kind]}; ask again in {wait}"
    return RateLimitError(message, retry_after_s=refusal.wait_s, kind=share.kind, headers=headers)


async def _logged(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        await coroutine
    except TridentError as exc:
        _log.warning("a request could not be settled: %s", exc.message)
    except Exception:  # noqa: BLE001 - whoever settles still has to tell the observers, and to close
        _log.exception("a request could not be settled")


async def _abandon(reserving: asyncio.Future[Reservation]) -> None:
    """Whoever asked for it is gone."""
    reservation = await reserving
    await reservation.cancel()
