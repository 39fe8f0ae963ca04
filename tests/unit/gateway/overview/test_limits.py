"""Which limits are told, of whom, and that looking takes nothing."""

import pytest

from tests.unit.gateway.clock import Clock
from tests.unit.gateway.loop import run
from trident.gateway.database import Database
from trident.gateway.identity import Identity, Limits
from trident.gateway.limiter import Limiter
from trident.gateway.overview.limits import limit_figures
from trident.gateway.spending import Spending
from trident.gateway.windows import MemoryWindows

LIMITS = Limits(requests_per_minute=10, tokens_per_minute=1000, concurrent_requests=2)


def told(found):
    return {(each.tenant, each.key, each.kind): (each.used, each.limit) for each in found}


def test_what_is_taken_is_told_of_the_key_and_of_the_tenant():
    async def use():
        limiter = Limiter(MemoryWindows(Clock()))
        who = Identity("team", "key", key_limits=LIMITS, tenant_limits=Limits(requests_per_minute=100))
        idle = Identity("team", "idle", key_limits=LIMITS, tenant_limits=Limits(requests_per_minute=100))
        reservation = await limiter.reserve(who, 250, 0.0)
        found = await limit_figures(limiter, [who, idle])
        assert found[0].kind == "concurrent"  # the fullest
        assert told(found) == {
            ("team", "key", "concurrent"): (1, 2),
            ("team", "key", "tokens"): (250, 1000),
            ("team", "key", "requests"): (1, 10),
            ("team", None, "requests"): (1, 100),
        }
        await reservation.settle(40, 0.0)
        after = told(await limit_figures(limiter, [who]))
        assert ("team", "key", "concurrent") not in after
        assert after["team", "key", "tokens"] == (40, 1000)

    run(use())


def test_a_look_takes_nothing_and_forgets_what_is_over():
    async def use():
        clock = Clock()
        limiter = Limiter(MemoryWindows(clock))
        who = Identity("team", "key", key_limits=Limits(requests_per_minute=1, concurrent_requests=1))
        for _ in range(5):
            assert await limit_figures(limiter, [who]) == []
        await (await limiter.reserve(who, 1, 0.0)).settle(1, 0.0)
        assert len(await limit_figures(limiter, [who])) == 1
        clock.now += 61
        assert await limit_figures(limiter, [who]) == []

    run(use())


def test_of_a_budget_what_is_spent_today_is_told(tmp_path):
    async def use():
        database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
        await database.start()
        limiter = Limiter(MemoryWindows(Clock()), Spending(database, wall=lambda: 1_000_000.0))
        who = Identity("team", "key", key_limits=Limits(daily_budget=8.0), tenant_limits=Limits(daily_budget=4.0))
        await (await limiter.reserve(who, 1, 3.0)).settle(1, 1.0)
        assert told(await limit_figures(limiter, [who])) == {
            ("team", None, "budget"): (pytest.approx(1.0), 4.0),
            ("team", "key", "budget"): (pytest.approx(1.0), 8.0),
        }
        await database.close()

    run(use())
