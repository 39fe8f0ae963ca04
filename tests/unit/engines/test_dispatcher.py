"""Promises between the engine and the asker: order, one end, no lost token, slots freed, a bounded queue."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from tests.unit.engines.scripted_engine import RecordedReply, ScriptedEngine, generation
from tests.unit.manifests import LIMITS
from tests.unit.text import tokenizers_under_test as under_test
from trident.engines.base import Beam, State
from trident.engines.completion import Completion
from trident.engines.dispatcher import AHEAD, Dispatcher
from trident.engines.pace import Pace
from trident.engines.telemetry import Telemetry
from trident.engines.waiting_line import LEVEL_S, WaitingLine
from trident.errors import (
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelledError,
    UnavailableError,
)
from trident.text.detokenizer import Detokenizer
from trident.text.text_options import TextOptions
from trident.text.token_pieces import read_pieces

TOKENIZER = under_test.byte_level_bpe()
DETOKENIZER = Detokenizer(read_pieces(json.loads(TOKENIZER.to_str())))


class Served:
    """A dispatcher on a scripted engine."""

    def __init__(
        self, max_delay_s: float = 0.0, max_queued: int = 8, is_lagging: bool = False, max_running: int = 4,
        max_tokens: int = 1000,
    ) -> None:  # fmt: skip
        self.engine = ScriptedEngine()
        self.gone = threading.Event()
        self.pace = Pace(max_delay_s)
        if is_lagging:
            self.pace.sent(seconds=10.0)
        limits = LIMITS.model_copy(
            update={"max_queued_requests": max_queued, "max_num_seqs": max_running, "max_queued_tokens": max_tokens}
        )
        self.telemetry = Telemetry()
        self.dispatcher = Dispatcher(
            self.engine, lambda _: DETOKENIZER, self.pace, limits, self.telemetry, self.gone.set
        )

    def submit(self, *generations, request_id: str = "", timeout_s: float | None = None) -> RecordedReply:
        reply = RecordedReply()
        self.dispatcher.submit(request_id, generations or [generation()], reply, timeout_s)
        return reply


@pytest.fixture
def served():
    made = Served()
    yield made
    made.dispatcher.close()


def test_every_token_is_its_own_response_when_sending_is_cheap(served):
    reply = served.submit()
    (sequence,) = served.engine.submitted
    for token_id in (11, 12, 13):
        served.engine.step((sequence, [token_id]))
        reply.wait(token_id - 10)
    served.engine.step((sequence, [14], "length"))
    reply.wait()
    assert [chunk.output_ids for chunk, _ in reply.chunks] == [[11], [12], [13], [14]]
    assert [is_final for _, is_final in reply.chunks] == [False, False, False, True]
    assert [chunk.finish_reason for chunk, _ in reply.chunks] == ["", "", "", "length"]
    assert reply.chunks[-1][0].num_input_tokens == 3
    assert reply.chunks[-1][0].num_output_tokens == 4


def test_the_window_holds_the_ids_before(served):
    reply = served.submit()
    (sequence,) = served.engine.submitted
    for token_id in range(20, 26):
        served.engine.step((sequence, [token_id], "stop" if token_id == 25 else None))
    reply.wait()
    text = "".join(DETOKENIZER.delta(chunk.context_ids, chunk.output_ids, is_final) for chunk, is_final in reply.chunks)
    assert text == DETOKENIZER.decode(range(20, 26))


def test_without_stream_there_is_exactly_one_response(served):
    reply = served.submit(generation(is_streaming=False, exclude_input=False))
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    served.engine.step((sequence, [12], "stop"))
    reply.wait()
    ((chunk, is_final),) = reply.chunks
    assert (chunk.output_ids, chunk.finish_reason, is_final) == ([5, 6, 7, 11, 12], "stop", True)


def test_the_end_of_a_batch_is_on_the_last_response_of_the_last_row(served):
    reply = served.submit(generation(is_alone=False), generation(is_alone=False, batch_index=1))
    first, second = served.engine.submitted
    served.engine.step((first, [11], "stop"), (second, [21]))
    reply.wait(2)
    served.engine.step((second, [22], "length"))
    reply.wait()
    assert [(chunk.batch_index, is_final) for chunk, is_final in reply.chunks] == [(0, False), (1, False), (1, True)]


def test_tokens_are_merged_while_they_wait_and_none_is_lost():
    served = Served(max_delay_s=30.0, is_lagging=True)
    reply = served.submit()
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    reply.wait(1)
    for token_id in range(12, 20):
        served.engine.step((sequence, [token_id]))
    served.engine.step((sequence, [20], "length"))
    reply.wait()
    served.dispatcher.close()
    assert [chunk.output_ids for chunk, _ in reply.chunks] == [[11], list(range(12, 21))]


def test_a_merged_token_waits_no_longer_than_the_bound():
    served = Served(max_delay_s=0.05, is_lagging=True)
    reply = served.submit()
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    reply.wait(1)
    served.engine.step((sequence, [12]))
    reply.wait(2)  # no further step comes: the timer sends it
    served.dispatcher.close()
    assert reply.ids == [11, 12]


def test_a_stop_word_ends_the_generation_in_the_engine_too(served):
    ids = TOKENIZER.encode("honey, said the teacher").ids
    reply = served.submit(generation(stop_strings=(b" said",)))
    (sequence,) = served.engine.submitted
    for token_id in ids:
        served.engine.step((sequence, [token_id]))
    reply.wait()
    last = reply.chunks[-1][0]
    assert last.finish_reason == "stop"
    assert served.engine.cancelled == [sequence]
    assert DETOKENIZER.delta([], reply.ids, is_last=True, trim_bytes=last.trim_bytes) == "honey,"


def test_cancel_ends_the_request_with_what_it_has(served):
    reply = served.submit(generation(), generation(), request_id="a")
    served.engine.step((served.engine.submitted[0], [11]))
    reply.wait(1)
    served.dispatcher.cancel("a")
    reply.wait()
    assert [chunk.finish_reason for chunk, _ in reply.chunks] == ["", "cancelled", "cancelled"]
    assert served.engine.cancelled == served.engine.submitted


def test_a_cancel_that_overtakes_its_request_still_ends_it(served):
    served.dispatcher.cancel("early")
    assert served.submit(request_id="early").wait().chunks[-1][0].finish_reason == "cancelled"


def test_an_asker_who_left_is_noticed_without_a_word(served):
    reply = served.submit()
    reply.is_gone = True
    served.engine.step()
    assert reply.wait().chunks[-1][0].finish_reason == "cancelled"


def test_a_live_id_cannot_be_used_again_until_it_has_ended(served):
    reply = served.submit(request_id="same")
    with pytest.raises(InvalidRequestError, match="same"):
        served.submit(request_id="same")
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    reply.wait()
    served.submit(request_id="same")


def test_a_full_queue_refuses_with_its_length_and_a_freed_place_is_given_again(served):
    replies = [served.submit() for _ in range(8)]
    with pytest.raises(QueueFullError, match="8 of 8"):
        served.submit()
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    replies[0].wait()
    served.submit()


def test_one_failed_row_ends_its_request_and_no_other(served):
    failing, other = served.submit(generation(), generation()), served.submit()
    first, second, third = served.engine.submitted
    served.engine.step((first, [], EngineError("out of cache")), (second, [21]), (third, [31], "stop"))
    assert isinstance(failing.wait().error, EngineError)
    assert other.wait().ids == [31]
    assert second in served.engine.cancelled


def test_a_dead_engine_ends_every_request_with_an_error_and_is_reported(served):
    replies = [served.submit(), served.submit()]
    served.engine.die()
    assert served.gone.wait(10)
    assert all(isinstance(reply.error, EngineError) for reply in replies)
    with pytest.raises(UnavailableError):
        served.submit()


class BrokenReply(RecordedReply):
    """Cannot send, as when shared memory is full."""

    def send(self, chunk, is_final) -> None:
        raise EngineError("a response could not be sent")


def test_a_response_that_cannot_be_sent_ends_its_request_with_an_error_and_frees_the_engine(served):
    broken, other = BrokenReply(), served.submit()
    served.dispatcher.submit("", [generation()], broken)
    first, second = served.engine.submitted
    served.engine.step((first, [11]), (second, [21]))
    assert isinstance(broken.wait().error, EngineError)
    served.engine.step((first, [12], "stop"))
    assert other.wait().ids == [11, 12]
    assert served.engine.cancelled == [second]


class SlowReply(RecordedReply):
    """Sends only when the test lets it, and one response at a time, or it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.has_begun = threading.Event()
        self._alone = threading.Lock()

    def send(self, chunk, is_final) -> None:
        assert self._alone.acquire(blocking=False), "two responses of one request at once"
        self.has_begun.set()
        assert self.go_on.wait(10)
        super().send(chunk, is_final)
        self._alone.release()


def test_a_response_that_waits_for_the_server_holds_up_no_other_request_and_gets_fuller(served):
    slow, other = SlowReply(), served.submit()
    served.dispatcher.submit("", [generation(), generation()], slow)
    first, second, third = served.engine.submitted
    served.engine.step((second, [20]), (third, [30]))  # two rows of one request
    assert slow.has_begun.wait(10)
    for token_id in (31, 32, 33):
        served.engine.step((third, [token_id]), (first, [token_id - 20]))
        other.wait(token_id - 30)
    slow.go_on.set()
    slow.wait(2)
    assert [chunk.output_ids for chunk, _ in slow.chunks] == [[20], [30, 31, 32, 33]]


class SlowlyAskedReply(RecordedReply):
    """Takes its time to say whether anybody listens, and notices a response that leaves meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.is_asked = threading.Event()
        self.num_sent_while_asked = None

    def is_cancelled(self) -> bool:
        self.is_asked.set()
        assert self.go_on.wait(10)
        if self.num_sent_while_asked is None:
            self.num_sent_while_asked = len(self.chunks)
        return False


def test_nothing_is_sent_while_the_asker_is_asked_and_nothing_is_asked_after_the_end(served):
    slow = SlowlyAskedReply()
    served.dispatcher.submit("", [generation()], slow)
    other = served.submit()
    assert slow.is_asked.wait(10)
    first, second = served.engine.submitted
    served.engine.step((first, [11], "stop"), (second, [21], "stop"))
    slow.go_on.set()
    assert (slow.wait().ids, other.wait().ids) == ([11], [21])
    assert slow.num_sent_while_asked == 0


def test_an_error_comes_after_the_response_that_is_being_sent(served):
    slow = SlowReply()
    served.dispatcher.submit("", [generation()], slow, timeout_s=0.05)
    served.engine.step((served.engine.submitted[0], [11]))
    assert slow.has_begun.wait(10)
    while served.dispatcher.load().num_live:  # until the deadline has passed
        served.engine.step()
    assert slow.error is None
    slow.go_on.set()
    assert isinstance(slow.wait().error, DeadlineExceededError)
    assert slow.ids == [11]


def test_a_bug_in_a_sender_ends_every_request_instead_of_hanging_it(served, monkeypatch):
    replies = [served.submit(), served.submit()]
    monkeypatch.setattr(served.telemetry, "response", None)  # what the sender calls is no function any more
    served.engine.step((served.engine.submitted[0], [11]))
    assert all(isinstance(reply.wait().error, EngineError) for reply in replies)
    assert served.gone.wait(10)


def test_a_bug_in_the_dispatcher_s_thread_ends_every_request_instead_of_hanging_it(served):
    reply = served.submit()
    served.engine.step(("no sequence at all", [1]))
    assert isinstance(reply.wait().error, EngineError)
    assert served.gone.wait(10)


def test_a_late_cancel_does_not_end_the_next_request_with_the_same_id(served):
    first = served.submit(request_id="again")
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    first.wait()
    served.dispatcher.cancel("again")
    second = served.submit(request_id="again")
    served.engine.step((served.engine.submitted[1], [2], "stop"))
    assert second.wait().ids == [2]


def test_closing_ends_every_request_as_cancelled_and_is_not_a_failure(served):
    reply = served.submit()
    served.dispatcher.close()
    assert isinstance(reply.error, RequestCancelledError)
    assert not served.gone.is_set()


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


def test_log_probs_stay_with_their_ids_when_a_stop_word_holds_some_back(served):
    ids = TOKENIZER.encode("honey, said the teacher").ids
    request = replace(generation().engine_request, wants_log_probs=True)
    reply = served.submit(generation(engine_request=request, stop_strings=(b" said",)))
    (sequence,) = served.engine.submitted
    for place, token_id in enumerate(ids):
        served.engine.step((sequence, [token_id], None, [-float(place)]))
    reply.wait()
    for chunk, _ in reply.chunks:
        assert len(chunk.log_probs) == len(chunk.output_ids)
    log_probs = [value for chunk, _ in reply.chunks for value in chunk.log_probs]
    assert log_probs == [-float(place) for place in range(len(reply.ids))]
    assert reply.chunks[-1][0].cum_log_prob == sum(log_probs)


def test_beams_come_in_one_response_with_the_end(served):
    request = replace(generation().engine_request, beam_width=2)
    reply = served.submit(generation(engine_request=request))
    beams = (Beam([11, 12], -0.5), Beam([13], -0.7))
    served.engine.step((served.engine.submitted[0], [], "stop", None, None, beams))
    ((chunk, is_final),) = reply.wait().chunks
    assert (chunk.beams, chunk.num_output_tokens, is_final) == (beams, 2, True)


def test_what_needs_the_whole_completion_gets_all_ids_before(served):
    reply = served.submit(generation(text_options=TextOptions(tool_parser="hermes")))
    (sequence,) = served.engine.submitted
    for token_id in range(20, 30):
        served.engine.step((sequence, [token_id], "stop" if token_id == 29 else None))
        reply.wait(token_id - 19)
    assert [chunk.context_ids for chunk, _ in reply.chunks] == [list(range(20, end)) for end in range(20, 30)]


def test_the_life_of_a_sequence():
    served = Served(max_queued=64, max_running=1)
    replies = [served.submit() for _ in range(2 + AHEAD)]
    first, *_ = served.engine.submitted
    assert first.state is State.PREFILLING
    served.engine.step((first, [11]))
    replies[0].wait(1)
    assert first.state is State.RUNNING
    served.engine.step((first, [12], "length"))
    replies[0].wait()
    assert first.state is State.FINISHED
    served.dispatcher.close()


def test_a_simulated_engine_says_so_in_the_report(served):
    served.engine.is_simulated = True
    reply = served.submit(generation(report=b'{"truncated_tokens": 3}'))
    served.engine.step((served.engine.submitted[0], [11], "stop"))
    assert json.loads(reply.wait().chunks[-1][0].report) == {"truncated_tokens": 3, "simulated": True}


def test_timings_are_given_when_asked_for_and_in_order(served):
    reply = served.submit(generation(wants_perf_metrics=True))
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    served.engine.step((sequence, [12], "stop"))
    timings = reply.wait().chunks[-1][0].timings
    assert timings.arrival <= timings.first_scheduled <= timings.first_token <= timings.last_token


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


class FaultyReply(RecordedReply):
    """A bug of ours: something that nobody expected is raised."""

    def send(self, chunk, is_final) -> None:
        raise ValueError("nobody expects this")


def test_a_bug_that_one_request_meets_ends_that_request_and_no_other(served):
    faulty, other = FaultyReply(), served.submit()
    served.dispatcher.submit("", [generation()], faulty)
    first, second = served.engine.submitted
    served.engine.step((second, [21]), (first, [11]))
    assert "internal error (ValueError)" in str(faulty.wait().error)
    served.engine.step((first, [12], "stop"))
    assert other.wait().ids == [11, 12]
    assert not served.gone.is_set()
    assert served.engine.cancelled == [second]


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
