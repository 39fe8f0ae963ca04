"""The circuit breaker: what opens it, who finds out, and whose word counts."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.clock import Clock
from trident.gateway.breaker import Breaker
from trident.gateway.routing_rules import BreakerLimits


def opened(**limits):
    clock = Clock(100.0)
    breaker = Breaker(BreakerLimits(**{"consecutive_failures": 1, **limits}), clock)
    breaker.failed(breaker.admit())
    return breaker, clock


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not():
    breaker = Breaker(BreakerLimits(consecutive_failures=3))
    for does_fail in (True, True, False, True, True):
        ticket = breaker.admit()
        (breaker.failed if does_fail else breaker.succeeded)(ticket)
    assert breaker.state == "closed"
    breaker.failed(breaker.admit())
    assert (breaker.state, breaker.admit()) == ("open", None)


def test_a_share_of_failures_opens_it_once_the_window_is_full():
    breaker = Breaker(BreakerLimits(consecutive_failures=100, failure_rate=0.5, window=4))
    for does_fail in (True, False, True):
        (breaker.failed if does_fail else breaker.succeeded)(breaker.admit())
    assert breaker.state == "closed"
    breaker.succeeded(breaker.admit())
    breaker.failed(breaker.admit())
    assert breaker.state == "open"


def test_after_its_rest_one_request_finds_out_and_the_others_go_elsewhere():
    breaker, clock = opened(rest_s=2.0)
    assert breaker.rest_s == 2.0
    clock.now += 2.0
    assert breaker.admit() is not None
    assert (breaker.state, breaker.admit()) == ("half_open", None)


def test_a_probe_that_is_answered_closes_it():
    breaker, clock = opened()
    clock.now += 60
    breaker.succeeded(breaker.admit())
    assert breaker.state == "closed"


def test_each_probe_that_fails_doubles_the_rest_up_to_its_bound():
    breaker, clock = opened(rest_s=1.0, max_rest_s=5.0)
    rests = [breaker.rest_s]
    for _ in range(3):
        clock.now += 60
        breaker.failed(breaker.admit())
        rests.append(breaker.rest_s)
    assert rests == [1.0, 2.0, 4.0, 5.0]


def test_a_probe_that_leaves_without_a_verdict_makes_room_for_the_next():
    breaker, clock = opened()
    clock.now += 60
    breaker.left(breaker.admit())
    assert breaker.admit() is not None


def test_while_it_is_open_those_that_were_let_in_before_have_no_say():
    breaker = Breaker(BreakerLimits(consecutive_failures=1))
    early, late = breaker.admit(), breaker.admit()
    breaker.failed(early)
    breaker.succeeded(late)
    assert breaker.state == "open"


@given(st.lists(st.tuples(st.sampled_from(["admit", "succeed", "fail", "leave", "wait"]), st.integers(0, 3))))
def test_whatever_happens_it_never_lets_two_probes_in_and_never_stays_shut(steps):
    """Nobody who was let in is forgotten: once all have left and time has passed, the next is let in."""
    clock = Clock(100.0)
    breaker = Breaker(BreakerLimits(consecutive_failures=2, window=3, rest_s=1.0, max_rest_s=4.0), clock)
    held = []
    for step, number in steps:
        if step == "admit":
            was_closed = breaker.state == "closed"
            ticket = breaker.admit()
            if ticket is not None:
                held.append(ticket)
                assert was_closed or breaker.admit() is None
        elif step == "wait":
            clock.now += number
        elif held:
            ticket = held.pop(number % len(held))
            {"succeed": breaker.succeeded, "fail": breaker.failed, "leave": breaker.left}[step](ticket)
    for ticket in held:
        breaker.left(ticket)
    clock.now += 4.0
    assert breaker.admit() is not None
