"""Who gets the next request, and how long a failed one waits: rules, without a server or a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import EngineError, QueueFullError, UnavailableError
from trident_client import Retry
from trident_client.pool import Endpoint, Pool


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pool(clock):
    return Pool([Endpoint(name, None) for name in "abc"], clock, chance=lambda: 0.0)


def test_the_one_with_the_fewest_requests_is_taken(pool):
    first, second, third = pool.endpoints
    first.num_running, second.num_running, third.num_running = 2, 1, 3
    assert pool.choose() is second
    assert pool.choose([second]) is first


def test_an_endpoint_that_failed_rests_and_each_time_longer(pool, clock):
    first, *others = pool.endpoints
    for other in others:
        other.num_running = 9
    pool.failed(first)
    assert pool.choose() in others
    clock.now += 0.5
    assert pool.choose() is first
    pool.failed(first)
    clock.now += 0.9
    assert pool.choose() in others


def test_one_request_finds_out_whether_it_is_back_while_the_others_go_elsewhere(pool, clock):
    first, *others = pool.endpoints
    pool.failed(first)
    clock.now += 10
    for other in others:
        other.num_running = 9
    assert pool.choose() is first
    assert pool.choose() in others
    pool.answered(first)
    assert pool.choose() is first


def test_when_all_have_failed_the_one_that_rests_least_is_tried(pool):
    for endpoint in (*pool.endpoints, *pool.endpoints[1:]):
        pool.failed(endpoint)
    assert pool.choose() is pool.endpoints[0]
    assert pool.choose(pool.endpoints[:1]) is not pool.endpoints[0]
    assert not pool.has_another([])


@given(st.integers(0, 20), st.floats(0, 1, exclude_max=True))
def test_waits_grow_within_their_bounds(num_retries, chance):
    retry = Retry(99, first_wait_s=0.1, max_wait_s=3.0)
    longest = min(3.0, 0.1 * 2**num_retries)
    assert longest / 2 <= retry.wait_s(num_retries, lambda: chance) <= longest


@pytest.mark.parametrize(
    ("error", "has_begun", "expected"),
    [(UnavailableError(), False, True), (QueueFullError(), False, True), (EngineError(), False, False),
     (UnavailableError(), True, False), (QueueFullError(), True, False)],
)  # fmt: skip
def test_only_what_is_safe_is_sent_again(error, has_begun, expected):
    assert Retry(1).allows(error, 0, has_begun=has_begun) is expected
    assert not Retry(0).allows(error, 0, has_begun=has_begun)
    assert not Retry(1).allows(error, 1, has_begun=has_begun)
