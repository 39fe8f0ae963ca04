"""Limits: nothing above them in any minute, all or nothing, and everything given back in the end."""

from __future__ import annotations

import asyncio
import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.gateway.clock import Clock
from trident.errors import RateLimitError
from trident.gateway.identity import Identity, Limits
from trident.gateway.limiter import Limiter, duration_text
from trident.gateway.windows import MemoryWindows

LIMITS = Limits(requests_per_minute=5, tokens_per_minute=100, concurrent_requests=3)


def identity(key=None, tenant=None, name="team", key_id="key"):
    return Identity(name, key_id, key_limits=key or Limits(), tenant_limits=tenant or Limits())


def limiter_at(clock):
    return Limiter(MemoryWindows(clock))


async def admitted(limiter, who, num_tokens=10):
    """The reservation, or None where there is no room."""
    try:
        return await limiter.reserve(who, num_tokens, 0.0)
    except RateLimitError:
        return None


def test_requests_above_the_limit_are_refused_until_a_minute_has_passed():
    """And the refusal says to the millisecond when to ask again."""

    async def use():
        clock = Clock()
        limiter = limiter_at(clock)
        who = identity(Limits(requests_per_minute=2))
        await limiter.reserve(who, 1, 0.0)
        clock.now += 20
        await limiter.reserve(who, 1, 0.0)
        with pytest.raises(RateLimitError, match="2 requests a minute; ask again in 40s") as refusal:
            await limiter.reserve(who, 1, 0.0)
        assert refusal.value.retry_after_s == pytest.approx(40)
        assert refusal.value.kind == "requests"
        clock.now += refusal.value.retry_after_s
        assert await admitted(limiter, who) is not None
        assert await admitted(limiter, who) is None

    asyncio.run(use())


def test_tokens_are_reserved_before_and_settled_after():
    """What was reserved and not used is free again at once."""

    async def use():
        limiter = limiter_at(Clock())
        who = identity(Limits(tokens_per_minute=100))
        first = await limiter.reserve(who, 80, 0.0)
        assert await admitted(limiter, who, 30) is None
        await first.settle(20, 0.0)
        assert await admitted(limiter, who, 80) is not None
        assert await admitted(limiter, who, 1) is None

    asyncio.run(use())


def test_more_tokens_than_reserved_count_too():
    """The estimate is not what is charged."""

    async def use():
        limiter = limiter_at(Clock())
        who = identity(Limits(tokens_per_minute=100))
        await (await limiter.reserve(who, 10, 0.0)).settle(95, 0.0)
        assert await admitted(limiter, who, 6) is None
        assert await admitted(limiter, who, 5) is not None

    asyncio.run(use())


def test_request_that_never_fits_is_not_to_be_sent_again():
    """Waiting would not help it; openai's clients obey the header."""

    async def use():
        limiter = limiter_at(Clock())
        with pytest.raises(RateLimitError, match="101 tokens, the limit of this key is 100 a minute") as refusal:
            await limiter.reserve(identity(Limits(tokens_per_minute=100)), 101, 0.0)
        assert refusal.value.headers["x-should-retry"] == "false"
        assert refusal.value.kind == "tokens"

    asyncio.run(use())


def test_refused_reservation_takes_nothing():
    """A key whose tenant has no room keeps its own requests and tokens."""

    async def use():
        limiter = limiter_at(Clock())
        full = identity(tenant=Limits(requests_per_minute=1), key_id="other")
        await limiter.reserve(full, 1, 0.0)
        both = identity(LIMITS, Limits(requests_per_minute=1))
        for _ in range(10):
            assert await admitted(limiter, both) is None
        alone = await limiter.reserve(identity(LIMITS), 10, 0.0)
        assert alone.headers()["x-ratelimit-remaining-requests"] == "4"
        assert alone.headers()["x-ratelimit-remaining-tokens"] == "90"

    asyncio.run(use())


def test_limit_of_the_tenant_holds_over_all_its_keys_and_no_other_tenant():
    """A tenant cannot get around it with more keys."""

    async def use():
        limiter = limiter_at(Clock())
        of_tenant = Limits(requests_per_minute=3)
        answers = [await admitted(limiter, identity(tenant=of_tenant, key_id=str(number))) for number in range(5)]
        assert [answer is not None for answer in answers] == [True, True, True, False, False]
        assert await admitted(limiter, identity(tenant=of_tenant, name="other")) is not None

    asyncio.run(use())


@pytest.mark.parametrize(
    ("first", "second"),
    [(("a", "b:tenant"), ("a:key:b", "tenant")), (("a}", "x"), ("a", "}x")), (("a/b", "c"), ("a", "b/c"))],
)
def test_names_that_look_alike_do_not_share_a_limit(first, second):
    """A token's subject is not the gateway's to choose."""

    async def use():
        limiter = limiter_at(Clock())
        of_key = Limits(requests_per_minute=1)
        assert await admitted(limiter, identity(of_key, name=first[0], key_id=first[1])) is not None
        assert await admitted(limiter, identity(of_key, name=second[0], key_id=second[1])) is not None

    asyncio.run(use())


def test_concurrent_requests_are_counted_until_they_end():
    """However they end, and once only."""

    async def use():
        limiter = limiter_at(Clock())
        who = identity(Limits(concurrent_requests=2))
        first, second = [await limiter.reserve(who, 1, 0.0) for _ in range(2)]
        with pytest.raises(RateLimitError, match="2 requests at once") as refusal:
            await limiter.reserve(who, 1, 0.0)
        assert refusal.value.retry_after_s > 0
        await first.settle(1, 0.0)
        await first.settle(1, 0.0)
        assert await admitted(limiter, who) is not None
        assert await admitted(limiter, who) is None
        await second.settle(0, 0.0)
        assert await admitted(limiter, who) is not None

    asyncio.run(use())


def test_headers_tell_of_the_tighter_limit():
    """Of key and tenant, the one that ends first; times as OpenAI writes them."""

    async def use():
        limiter = limiter_at(Clock())
        who = identity(Limits(requests_per_minute=10, tokens_per_minute=50), Limits(requests_per_minute=3))
        headers = (await limiter.reserve(who, 20, 0.0)).headers()
        assert headers == {
            "x-ratelimit-limit-requests": "3",
            "x-ratelimit-remaining-requests": "2",
            "x-ratelimit-reset-requests": "1m0s",
            "x-ratelimit-limit-tokens": "50",
            "x-ratelimit-remaining-tokens": "30",
            "x-ratelimit-reset-tokens": "1m0s",
        }
        assert (await limiter.reserve(identity(), 10**9, 10**9)).headers() == {}

    asyncio.run(use())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0201, "21ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (59.999, "59.999s"),
        (60.0, "1m0s"),
        (90.25, "1m30.25s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds, text):
    """Rounded up, so that who waits for so long has waited enough."""
    assert duration_text(seconds) == text


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "settle", "wait"]),
        st.integers(0, 120),  # tokens, or which to settle
        st.floats(0.0, 30.0),
        st.integers(0, 150),  # tokens that were used
    ),
    max_size=60,
)


@given(_STEPS)
@many(2)
def test_no_minute_ever_admits_more_than_the_limit(steps):
    """Any order of reservations, settlements and pauses; and at the end nothing is held."""

    async def use():
        clock = Clock()
        limiter = limiter_at(clock)
        who = identity(LIMITS)
        open_ones, entries = deque(), []  # entries: [time, tokens] that the limit has to count
        for step, number, pause, used in steps:
            if step == "wait":
                clock.now += pause
            elif step == "settle" and open_ones:
                open_ones.rotate(number)
                reservation, entry = open_ones.popleft()
                await reservation.settle(min(used, entry[1]), 0.0)
                entry[1] = min(used, entry[1])
            elif step == "reserve":
                reservation = await admitted(limiter, who, number)
                if reservation is not None:
                    entry = [clock.now, number]
                    entries.append(entry)
                    open_ones.append((reservation, entry))
                recent = [entry for entry in entries if entry[0] > clock.now - 60]
                assert len(recent) <= LIMITS.requests_per_minute
                assert sum(tokens for _, tokens in recent) <= LIMITS.tokens_per_minute
                assert len(open_ones) <= LIMITS.concurrent_requests
        for reservation, _ in open_ones:
            await reservation.settle(0, 0.0)
        clock.now += 60
        together = [await admitted(limiter, who, 33) for _ in range(3)]
        assert all(together)
        assert together[2].headers()["x-ratelimit-remaining-tokens"] == "1"

    asyncio.run(use())


@given(st.lists(st.floats(-1e5, 1e5), max_size=20))
def test_clock_that_jumps_locks_nobody_out_for_longer_than_a_minute(jumps):
    """Back or forth, as a clock that is set does; what remains is never negative."""

    async def use():
        clock = Clock()
        limiter = limiter_at(clock)
        who = identity(LIMITS)
        for jump in jumps:
            clock.now += jump
            reservation = await admitted(limiter, who, 60)
            if reservation is not None:
                assert 0 <= int(reservation.headers()["x-ratelimit-remaining-tokens"]) <= 100
                await reservation.settle(55, 0.0)
        clock.now += 60 + 1e-6  # what sums of such numbers are rounded by
        assert await admitted(limiter, who, 100) is not None

    asyncio.run(use())


def test_clock_set_back_gives_no_second_allowance():
    """What was taken a moment ago stays taken."""

    async def use():
        clock = Clock()
        limiter = limiter_at(clock)
        who = identity(Limits(requests_per_minute=1))
        await limiter.reserve(who, 1, 0.0)
        clock.now -= 3600
        assert await admitted(limiter, who) is None
        clock.now += 59.9
        assert await admitted(limiter, who) is None

    asyncio.run(use())


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 20)), min_size=1, max_size=30))
def test_who_waits_as_long_as_told_gets_in(asked):
    """One refusal is enough to know when there is room, if nobody else comes."""

    async def use():
        clock = Clock()
        limiter = limiter_at(clock)
        who = identity(Limits(requests_per_minute=4, tokens_per_minute=60))
        for num_tokens, pause in asked:
            clock.now += pause
            try:
                await limiter.reserve(who, num_tokens, 0.0)
            except RateLimitError as refusal:
                clock.now += min(60, math.ceil(refusal.retry_after_s * 1000) / 1000) + 1e-6
                await limiter.reserve(who, num_tokens, 0.0)

    asyncio.run(use())
