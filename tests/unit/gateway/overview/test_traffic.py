"""What a worker counts of its requests."""

import pytest

from tests.unit.gateway.clock import Clock
from tests.unit.gateway.observed import asked, outcome
from trident.errors import UnavailableError
from trident.gateway.overview.traffic import Traffic


def pass_through(traffic, **changes):
    of = asked()
    traffic.began(of)
    traffic.ended(outcome(of, **changes))


def test_requests_are_counted_by_how_they_ended():
    traffic = Traffic()
    pass_through(traffic, cache="exact", num_cached_tokens=3)
    pass_through(traffic, error=UnavailableError("gone"))
    pass_through(traffic, is_cancelled=True)
    traffic.began(asked())
    found = traffic.figures()
    assert (found.running, found.requests, found.errors, found.cancelled, found.cache_hits) == (1, 3, 1, 1, 1)
    assert (found.input_tokens, found.cached_tokens, found.output_tokens) == (15, 3, 33)


def test_times_are_of_answers_that_came_to_their_end():
    traffic = Traffic()
    for ttft_s in (0.1, 0.2, 0.9):
        pass_through(traffic, ttft_s=ttft_s, duration_s=10 * ttft_s)
    pass_through(traffic, ttft_s=0.001, error=UnavailableError("gone"))
    found = traffic.figures().since_start
    assert (found.ttft_ms_p50, found.duration_ms_p50) == (pytest.approx(200), pytest.approx(2000))


def test_the_last_minute_forgets_and_the_start_does_not():
    clock = Clock()
    traffic = Traffic(clock)
    pass_through(traffic)
    clock.now += 61
    found = traffic.figures()
    assert found.last_minute.ttft_ms_p50 is None
    assert found.since_start.ttft_ms_p50 == pytest.approx(100)
