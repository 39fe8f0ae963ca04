"""What waits: bounded, by priority, with deadlines; cancelled and drained without the engine."""

from __future__ import annotations

import pytest

from tests.unit.engines.scripted_engine import generation
from tests.unit.engines.served import DETOKENIZER, Served
from trident.engines.completion import Completion
from trident.engines.dispatcher import AHEAD
from trident.engines.waiting_line import LEVEL_S, WaitingLine
from trident.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    QueueFullError,
    UnavailableError,
)


def test_a_full_queue_refuses_with_its_length_and_a_freed_place_is_given_again(served):
    replies = [served.submit() for _ in range(8)]
    with pytest.raises(QueueFullError, match="8 of 8"):
        served.submit()
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    replies[0].wait()
    served.submit()


def test_what_waits_is_taken_by_priority_and_then_by_arrival():
    served = Served(max_queued=64, max_running=1)
    ordinary = [served.submit() for _ in range(1 + AHEAD)]
    late, urgent, later = [served.submit(generation(priority=priority)) for priority in (5, 1, 5)]
    running = list(served.engine.submitted)
    assert len(running) == 1 + AHEAD
    for sequence in running[:3]:
        served.engine.step((sequence, [1], "stop"))
    for reply in ordinary[:3]:
        reply.wait()
    followers = served.engine.submitted[1 + AHEAD :]
    assert [sequence.generation.priority for sequence in followers] == [1, 5, 5]
    for sequence in followers:
        served.engine.step((sequence, [2], "stop"))
    assert [reply.wait().ids for reply in (urgent, late, later)] == [[2]] * 3
    served.dispatcher.close()


def test_prompts_that_wait_are_bounded_by_their_tokens_too():
    served = Served(max_queued=64, max_running=1, max_tokens=5)
    for _ in range(1 + AHEAD + 1):  # the last waits, with three tokens
        served.submit()
    with pytest.raises(QueueFullError, match=r"1 sequences with 3 prompt tokens are waiting \(at most 5\)"):
        served.submit()
    assert served.dispatcher.load().num_waiting_tokens == 3
    served.dispatcher.close()


def test_cancelling_what_waits_ends_it_without_the_engine():
    served = Served(max_queued=64, max_running=1)
    for _ in range(1 + AHEAD):
        served.submit()
    waiting = served.submit(request_id="waiting")
    served.dispatcher.cancel("waiting")
    served.engine.step()
    assert waiting.wait().chunks[-1][0].finish_reason == "cancelled"
    assert len(served.engine.submitted) == 1 + AHEAD
    assert served.dispatcher.load().num_waiting == 0
    served.dispatcher.close()


@pytest.mark.parametrize("by_row", [False, True])
def test_a_deadline_ends_a_request_with_an_error_and_frees_the_engine(served, by_row):
    reply = served.submit(generation(timeout_s=0.05 if by_row else None), timeout_s=None if by_row else 0.05)
    served.engine.step()
    assert isinstance(reply.wait().error, DeadlineExceededError)
    assert "0.05 s" in str(reply.error)
    assert served.engine.cancelled == served.engine.submitted
    (outcome,) = served.telemetry.take().requests
    assert outcome[0] == "timeout"


def test_a_deadline_ends_what_still_waits():
    waiting = Served(max_queued=64, max_running=1)
    for _ in range(1 + AHEAD):
        waiting.submit()
    reply = waiting.submit(timeout_s=0.05)
    waiting.engine.step()
    assert isinstance(reply.wait().error, DeadlineExceededError)
    assert waiting.dispatcher.load().num_waiting == 0
    waiting.dispatcher.close()


def test_a_draining_dispatcher_takes_nothing_new_and_finishes_what_it_has(served):
    reply = served.submit()
    served.dispatcher.drain()
    with pytest.raises(UnavailableError, match="stopping"):
        served.submit()
    assert served.dispatcher.load().num_live == 1
    served.engine.step((served.engine.submitted[0], [11], "stop"))
    assert reply.wait().ids == [11]
    assert served.dispatcher.load().num_live == 0


def test_a_cancelled_sequence_that_waits_never_reaches_the_engine():
    """Also when a place falls free in the very step in which the cancel is noticed."""
    served = Served(max_queued=64, max_running=1)
    ahead = [served.submit() for _ in range(1 + AHEAD)]
    waiting = served.submit(request_id="waiting")
    served.dispatcher.cancel("waiting")
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    assert waiting.wait().chunks[-1][0].finish_reason == "cancelled"
    ahead[0].wait()
    assert len(served.engine.submitted) == 1 + AHEAD
    served.dispatcher.close()


def test_waiting_long_enough_beats_a_priority():
    line = WaitingLine()
    patient, urgent = (Completion(generation(priority=level), DETOKENIZER, arrival, False)
                       for level, arrival in ((5, 0.0), (1, 4 * LEVEL_S + 1)))  # fmt: skip
    line.add(urgent)
    line.add(patient)
    assert line.pop() is patient


def test_a_request_that_can_never_fit_is_not_told_to_try_again(served):
    with pytest.raises(InvalidRequestError, match="9 sequences, this engine takes 8"):
        served.submit(*[generation() for _ in range(9)])


def test_what_waits_in_the_engine_for_its_adapter_keeps_no_other_request_waiting():
    served = Served(max_queued=64, max_running=1)
    waiting = [served.submit() for _ in range(1 + AHEAD)]
    other = served.submit()
    assert len(served.engine.submitted) == len(waiting)
    served.engine.num_preparing = len(waiting)
    while len(served.engine.submitted) == len(waiting):  # noticed without a step
        served.engine.step()
    served.engine.step((served.engine.submitted[-1], [11], "stop"))
    assert other.wait().ids == [11]
    served.dispatcher.close()


def test_a_deadline_is_noticed_before_the_engine_says_anything(served):
    assert isinstance(served.submit(timeout_s=0.05).wait().error, DeadlineExceededError)
