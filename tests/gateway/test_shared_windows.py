"""Limits in a real Redis: the same as in memory, for several gateways, and without it when it is away."""

from __future__ import annotations

import asyncio
import math
import signal
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.running_redis import running_redis
from trident.errors import RateLimitError, SettingsError
from trident.gateway.identity import Identity, Limits
from trident.gateway.limiter import Limiter, shares_of
from trident.gateway.shared_windows import SharedWindows
from trident.gateway.windows import MemoryWindows

_PATIENCE_S = 30.0  # a busy machine is not a Redis that is away
LIMITS = Limits(requests_per_minute=5, tokens_per_minute=100, concurrent_requests=3)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    try:
        with running_redis(tmp_path_factory.mktemp("redis")) as running:
            yield running
    except LookupError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def own_redis(tmp_path, redis):
    """One that a test may kill."""
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
def team(request):
    """A tenant of the test's own: Redis is shared."""
    return request.node.name


def identity(team, limits=LIMITS):
    return Identity(team, "key", key_limits=limits)


async def admitted(limiter, who, num_tokens=10):
    try:
        return await limiter.reserve(who, num_tokens, 0.0)
    except RateLimitError:
        return None


def with_clock(url, function):
    """`function(windows, [milliseconds since 1970])`: Redis's clock in the hands of the test."""

    async def use():
        wall = [1_800_000_000_000]
        windows = SharedWindows(url, wall_ms=lambda: wall[0], patience_s=_PATIENCE_S)
        try:
            await function(windows, wall)
        finally:
            await windows.close()

    asyncio.run(use())


def with_gateways(url, function, number=2, **arguments):
    """`function(limiters)` with so many gateways' limiters on one Redis."""

    async def use():
        limiters = [Limiter(SharedWindows(url, **{"patience_s": _PATIENCE_S, **arguments})) for _ in range(number)]
        for limiter in limiters:
            await limiter.start()
        try:
            return await function(*limiters)
        finally:
            for limiter in limiters:
                await limiter.close()

    return asyncio.run(use())


def test_gateways_share_a_limit(redis, team):
    """What one admits the other counts; and what one gives back."""

    async def use(one, other):
        who = identity(team)
        first = await one.reserve(who, 60, 0.0)
        assert await admitted(other, who, 50) is None
        await first.settle(10, 0.0)
        second = await other.reserve(who, 50, 0.0)
        assert second.headers()["x-ratelimit-remaining-requests"] == "3"
        assert second.headers()["x-ratelimit-remaining-tokens"] == "40"

    with_gateways(redis.url, use)


def test_racing_gateways_never_admit_more_than_the_limit(redis, team):
    """A hundred requests at once through two gateways, for one key."""

    async def use(one, other):
        who = identity(team, Limits(requests_per_minute=17, tokens_per_minute=10_000, concurrent_requests=40))
        answers = await asyncio.gather(*[admitted((one, other)[number % 2], who) for number in range(100)])
        assert sum(answer is not None for answer in answers) == 17

    with_gateways(redis.url, use)


def test_refusal_takes_nothing_and_says_when_to_ask_again(redis, team):
    """All or none of the shares, in one step."""

    async def use(one, other):
        who = identity(team, Limits(requests_per_minute=100, tokens_per_minute=50, concurrent_requests=2))
        await one.reserve(who, 40, 0.0)
        for _ in range(5):
            with pytest.raises(RateLimitError) as refusal:
                await other.reserve(who, 20, 0.0)
        assert 0 < refusal.value.retry_after_s <= 60
        assert refusal.value.headers["x-ratelimit-remaining-requests"] == "99"
        with pytest.raises(RateLimitError, match="ask for fewer"):
            await one.reserve(who, 51, 0.0)
        assert await admitted(other, who, 10) is not None

    with_gateways(redis.url, use)


def test_what_is_settled_twice_is_given_back_once(redis, team):
    """As when an answer of Redis is lost on its way and the gateway asks again."""

    async def use(limiter):
        who = identity(team, Limits(tokens_per_minute=100))
        await limiter.reserve(who, 50, 0.0)
        second = await limiter.reserve(who, 50, 0.0)
        for _ in range(2):
            await limiter.windows.settle(second._holder, second._shares, second._taken, [20])
        assert await admitted(limiter, who, 31) is None
        assert await admitted(limiter, who, 30) is not None

    with_gateways(redis.url, use, number=1)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "settle", "wait"]), st.integers(0, 120), st.integers(-90_000, 90_000)
    ),
    max_size=25,
)


@given(steps=_STEPS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_redis_and_memory_admit_the_same(redis, steps):
    """Whatever is asked, and however the clock goes: forth, or back."""

    async def use(shared, wall):
        limiters = [Limiter(shared), Limiter(MemoryWindows(lambda: wall[0] / 1000))]
        who = identity(f"team-{time.monotonic_ns()}")
        held = []
        for step, number, pause_ms in steps:
            if step == "wait":
                wall[0] += pause_ms
            elif step == "settle" and held:
                for reservation in held.pop(number % len(held)):
                    await reservation.settle(number // 2, 0.0)
            elif step == "reserve":
                both = [await admitted(limiter, who, number) for limiter in limiters]
                assert (both[0] is None) == (both[1] is None)
                if both[0] is not None:
                    assert both[0].headers() == both[1].headers()
                    held.append(both)
        assert not shared.is_away

    with_clock(redis.url, use)


def test_killed_gateway_gives_back_what_ran(redis, team):
    """Within a minute."""
    who = identity(team, Limits(concurrent_requests=1))

    async def die(windows, wall):
        await Limiter(windows).reserve(who, 1, 0.0)

    async def live(windows, wall):
        wall[0] += 59_000
        assert await admitted(Limiter(windows), who) is None
        wall[0] += 2_000
        assert await admitted(Limiter(windows), who) is not None

    with_clock(redis.url, die)
    with_clock(redis.url, live)


def test_request_that_runs_for_long_keeps_its_place(redis, team):
    """Renewed by the gateway that runs it, until it ends."""

    async def use(windows, wall):
        limiter, who = Limiter(windows), identity(team, Limits(concurrent_requests=1))
        running = await limiter.reserve(who, 1, 0.0)
        for _ in range(5):
            wall[0] += 50_000
            await windows.renew()
        assert await admitted(limiter, who) is None
        await running.settle(1, 0.0)
        assert await admitted(limiter, who) is not None

    with_clock(redis.url, use)


def test_without_redis_each_gateway_counts_alone_and_goes_back_to_it(own_redis, team, caplog):
    """No request fails for it; the operator reads when it went and when it came."""

    alone = []

    async def use(one, other):
        who = identity(team, Limits(requests_per_minute=3))
        await one.reserve(who, 1, 0.0)
        own_redis.kill()
        for limiter in (one, other):
            answers = [await admitted(limiter, who) for _ in range(5)]
            assert [answer is not None for answer in answers] == [True, True, True, False, False]
            assert limiter.windows.is_away
        assert len(alone) == 10
        own_redis.start()
        for limiter in (one, other):
            while limiter.windows.is_away:
                await admitted(limiter, who)
                await asyncio.sleep(0.1)
        assert sum([await admitted(limiter, who) is not None for limiter in (one, other) * 3]) <= 2
        num_alone = len(alone)
        assert await admitted(one, who) is None
        assert len(alone) == num_alone

    with_gateways(own_redis.url, use, on_local=lambda: alone.append(None))
    texts = [record.message for record in caplog.records]
    assert sum("Redis is away" in text for text in texts) == 2
    assert sum("Redis is back" in text for text in texts) == 2


def test_redis_that_hangs_does_not_hang_the_gateway(own_redis, team):
    """Stopped, not dead: it accepts connections and says nothing. What ended meanwhile is settled when it goes on."""

    async def use(limiter):
        who = identity(team, Limits(concurrent_requests=2, tokens_per_minute=100))
        running = [await limiter.reserve(who, 40, 0.0) for _ in range(2)]
        own_redis.process.send_signal(signal.SIGSTOP)
        for reservation in running:
            await reservation.settle(0, 0.0)
        assert limiter.windows.is_away
        assert await admitted(limiter, who) is not None
        own_redis.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 20
        while (await admitted(limiter, who, 50)) is None or limiter.windows.is_away:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    with_gateways(own_redis.url, use, number=1, patience_s=0.5)


def test_gateway_starts_without_redis(own_redis, team):
    """And counts by itself until it is there."""
    own_redis.kill()

    async def use(limiter):
        assert await admitted(limiter, identity(team)) is not None
        assert limiter.windows.is_away

    with_gateways(own_redis.url, use, number=1, patience_s=0.5)


@pytest.mark.parametrize("url", ["nonsense", "http://localhost"])
def test_address_that_is_not_redis_is_refused_by_name(url):
    """At the start."""
    with pytest.raises(SettingsError, match=r"server\.redis"):
        SharedWindows(url)


def test_wait_of_redis_is_enough(redis, team):
    """Who waits as long as told gets in."""

    async def use(windows, wall):
        limiter, who = Limiter(windows), identity(team, Limits(tokens_per_minute=30))
        for num_tokens in (10, 10, 10, 25, 5, 30, 1):
            wall[0] += 7_000
            try:
                await limiter.reserve(who, num_tokens, 0.0)
            except RateLimitError as refusal:
                wall[0] += math.ceil(refusal.retry_after_s * 1000)
                await limiter.reserve(who, num_tokens, 0.0)

    with_clock(redis.url, use)


def test_a_look_tells_what_all_gateways_took_and_takes_nothing(redis, team):
    """Of several tenants at once; a place that nobody renewed is free."""

    async def use(windows, wall):
        limiter = Limiter(windows)
        who, other = identity(team), identity(f"{team}-other")
        shares = [*shares_of(who, 0), *shares_of(other, 0)]
        await limiter.reserve(who, 30, 0.0)
        for _ in range(2):
            found = await windows.standings(shares)
            assert [standing.remaining for standing in found] == [4, 70, 2, 5, 100, 3]
            assert found[0].reset_s == 60
        wall[0] += 61_000
        assert [standing.remaining for standing in await windows.standings(shares[:3])] == [5, 100, 3]

    with_clock(redis.url, use)
