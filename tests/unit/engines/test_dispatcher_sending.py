"""Responses on their way out: in order, one at a time for a request, and a fault ends what it met and no more."""

from __future__ import annotations

import threading

from tests.unit.engines.scripted_engine import RecordedReply, generation
from trident.errors import (
    DeadlineExceededError,
    EngineError,
)


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
