"""Daily budgets: reserved, settled, exact, and remembered over a restart."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.gateway.clock import Clock
from trident.errors import QuotaError, UnavailableError
from trident.gateway.database import Database
from trident.gateway.identity import Identity, Limits
from trident.gateway.limiter import Limiter
from trident.gateway.spending import Spending
from trident.gateway.windows import MemoryWindows


def identity(key=None, tenant=None, key_id="key"):
    return Identity("team", key_id, key_limits=key or Limits(), tenant_limits=tenant or Limits())


@pytest.fixture
def database(tmp_path):
    return Database(f"sqlite:///{tmp_path}/gateway.db")


def with_spending(database, wall, function):
    """`function(limiter, spending)` on an open database."""

    async def use():
        await database.start()
        spending = Spending(database, wall)
        limiter = Limiter(MemoryWindows(Clock()), spending)
        await limiter.start()
        try:
            return await function(limiter, spending)
        finally:
            await limiter.close()
            await database.close()

    return asyncio.run(use())


RICH = identity(Limits(daily_budget=1.0), Limits(daily_budget=1.5))
POOR = identity(Limits(daily_budget=10.0), Limits(daily_budget=1.5), key_id="other")


def test_daily_budget_is_reserved_then_settled(database):
    """The most that a request may cost is held, what it did cost is spent; exact to a billionth."""

    async def use(limiter, _):
        first = await limiter.reserve(RICH, 1, 0.9)
        with pytest.raises(QuotaError, match="daily budget of 1 "):
            await limiter.reserve(RICH, 1, 0.2)
        await first.settle(1, 0.1)
        for _ in range(9):
            await (await limiter.reserve(RICH, 1, 0.1)).settle(1, 0.1)
        with pytest.raises(QuotaError):
            await limiter.reserve(RICH, 1, 1e-9)

    with_spending(database, Clock(), use)


def test_budget_of_the_tenant_holds_over_its_keys(database):
    """And the key that was refused for it keeps its own, and its requests."""

    async def use(limiter, spending):
        await limiter.reserve(RICH, 1, 1.0)
        with pytest.raises(QuotaError, match=r"daily budget of 1\.5 "):
            await limiter.reserve(POOR, 1, 0.6)
        await limiter.reserve(POOR, 1, 0.5)
        assert await spending.spent_today("trident:{team}:key:other") == 0.5

    with_spending(database, Clock(), use)


def test_refused_budget_gives_the_request_back(database):
    """All or nothing, over the limits and the money."""

    async def use(limiter, _):
        who = identity(Limits(requests_per_minute=1, concurrent_requests=1, daily_budget=1.0))
        with pytest.raises(QuotaError):
            await limiter.reserve(who, 1, 2.0)
        assert await limiter.reserve(who, 1, 0.5) is not None

    with_spending(database, Clock(), use)


def test_restart_does_not_forget_what_was_spent(database):
    """A budget is of a day, not of a process."""
    wall = Clock(1_800_000_000.0)

    async def spend(limiter, _):
        await limiter.reserve(RICH, 1, 0.8)

    async def spend_again(limiter, _):
        with pytest.raises(QuotaError):
            await limiter.reserve(RICH, 1, 0.3)

    with_spending(database, wall, spend)
    with_spending(database, wall, spend_again)


def test_new_day_has_a_new_budget_and_settles_on_the_old_one(database):
    """Midnight in UTC; a request that runs over it is paid from the day on which it began."""

    async def use(limiter, spending):
        before = await limiter.reserve(RICH, 1, 1.0)
        wall.now += 1
        await limiter.reserve(RICH, 1, 1.0)
        await before.settle(1, 0.25)
        assert await spending.spent_today("trident:{team}:key:key") == 1.0
        wall.now -= 1
        assert await spending.spent_today("trident:{team}:key:key") == 0.25

    wall = Clock(1_800_057_600.0 - 0.5)  # half a second before 2027-01-16T00:00:00Z
    with_spending(database, wall, use)


def test_refusal_says_when_there_is_a_new_budget_unless_that_cannot_hold_it_either(database):
    """The smallest budget decides what never fits, whichever is spent."""

    async def use(limiter, _):
        await limiter.reserve(POOR, 1, 1.5)
        with pytest.raises(QuotaError) as spent:
            await limiter.reserve(RICH, 1, 0.9)
        with pytest.raises(QuotaError, match=r"1 never holds this, which may cost 1\.2") as hopeless:
            await limiter.reserve(RICH, 1, 1.2)
        assert (spent.value.retry_after_s, hopeless.value.retry_after_s) == (3600.0, None)

    with_spending(database, Clock(1_800_057_600.0 - 3600), use)


def test_racing_requests_never_spend_more_than_the_budget(database):
    """Fifty at once ask for a tenth each."""

    async def use(limiter, spending):
        answers = await asyncio.gather(*[limiter.reserve(RICH, 1, 0.1) for _ in range(50)], return_exceptions=True)
        assert sum(not isinstance(answer, QuotaError) for answer in answers) == 10
        assert await spending.spent_today("trident:{team}:key:key") == 1.0

    with_spending(database, Clock(), use)


@pytest.mark.parametrize("failure", [UnavailableError("away"), ValueError("not what a driver should raise")])
def test_a_settlement_that_fails_raises_nothing_and_is_logged(database, caplog, failure):
    """Too much stays counted; nobody who settles is kept from what he has to do next."""

    async def use(limiter, spending):
        async def fail(*_):
            raise failure

        reservation = await limiter.reserve(RICH, 1, 0.5)
        spending.settle = fail
        await reservation.settle(1, 0.25)
        assert await spending.spent_today("trident:{team}:key:key") == 0.5

    with_spending(database, Clock(), use)
    assert "could not be settled" in caplog.text


def test_client_that_leaves_while_it_is_let_in_leaves_nothing(database):
    """The reservation was on its way to the database; nobody will settle it."""
    who = identity(Limits(concurrent_requests=1, daily_budget=1.0))

    async def use(limiter, spending):
        asking = asyncio.ensure_future(limiter.reserve(who, 1, 0.5))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await limiter.close()
        assert await spending.spent_today("trident:{team}:key:key") == 0.0
        assert await limiter.reserve(who, 1, 1.0) is not None

    with_spending(database, Clock(), use)
