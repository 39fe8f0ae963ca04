"""What requests are charged adds up to the time in which any ran."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.clock import Clock
from trident.gateway.engine_clock import EngineClock


def test_two_that_run_at_once_share():
    clock = Clock(100.0)
    engine = EngineClock(clock)
    first = engine.enter()
    clock.now += 2
    second = engine.enter()
    clock.now += 4
    assert engine.leave(first) == pytest.approx(2 + 4 / 2)
    clock.now += 1
    assert engine.leave(second) == pytest.approx(4 / 2 + 1)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=30))
def test_the_shares_of_all_are_the_time_in_which_any_ran(requests):
    """`requests`: when each begins and how long it runs."""
    clock = Clock(100.0)
    engine = EngineClock(clock)
    moments = sorted(
        [(begin, number, "enter") for number, (begin, _) in enumerate(requests)]
        + [(begin + took, number, "leave") for number, (begin, took) in enumerate(requests)],
        key=lambda moment: (moment[0], moment[2]),
    )
    entered, charged, busy_s, running, before = {}, {}, 0.0, 0, 0.0
    for at, number, what in moments:
        busy_s += (at - before) if running else 0.0
        before, clock.now = at, 100.0 + at
        running += 1 if what == "enter" else -1
        if what == "enter":
            entered[number] = engine.enter()
        else:
            charged[number] = engine.leave(entered[number])
    assert sum(charged.values()) == pytest.approx(busy_s, abs=1e-6)
    assert all(charged[number] <= took + 1e-6 for number, (_, took) in enumerate(requests))
