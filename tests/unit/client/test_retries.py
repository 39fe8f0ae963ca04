"""What is sent again and what is not, and how a deadline ends it all: over every protocol and face."""

import threading
import time

import pytest

from trident.errors import DeadlineExceededError, EngineError, InvalidRequestError, QueueFullError, UnavailableError
from trident_client import Client, Delta, Retry

from .conftest import AsyncFace, SyncFace
from .scripted_server import Complain, Die, Hang, Refuse, Say

ALL = 10**6
QUICK = Retry(first_wait_s=0.01)
BUSY = Refuse("UNAVAILABLE", 503, "the queue is full (8 of 8 sequences); try again later")
STOPPING = Refuse("UNAVAILABLE", 503, "the server is stopping")


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request, url, protocol):
    """A client of this face and protocol, with options."""
    return lambda **options: request.param(url, protocol, **{"retry": QUICK, **options})


def asked(server):
    """The requests that came, without the cancels."""
    return [seen for seen in server.requests if "stop" not in seen["inputs"]]


# Retries


@pytest.mark.parametrize("step", [BUSY, STOPPING, Die()])
@pytest.mark.parametrize("call", ["generate", "stream"])
def test_what_failed_before_anything_came_is_sent_again(face, server, step, call):
    server.scripts = [[step]]
    server.script = [Say("Hello", "stop")]
    client = face()
    text = client.generate("Hi").text if call == "generate" else client.take(ALL, "Hi")[0][0].text
    assert text == "Hello"
    first, second = asked(server)
    assert first["id"] == second["id"]


def test_a_connection_that_broke_leaves_nothing_running_twice(face, server):
    server.scripts = [[Die()]]
    server.script = [Say("Hello", "stop")]
    face().take(ALL, "Hi", request_id="a")
    assert server.cancels == ["a"]


def test_what_is_still_running_after_a_break_is_waited_for(face, server):
    server.scripts = [[Die()], [Complain("a live request has the id 'a'; ids must be unique")]]
    server.script = [Say("Hello", "stop")]
    assert face().take(ALL, "Hi", request_id="a")[0] == [Delta("Hello", "stop")]


def test_there_is_an_end_to_retries_and_the_error_is_the_last_one(face, server):
    server.script = [BUSY]
    with pytest.raises(QueueFullError):
        face(retry=Retry(3, first_wait_s=0.01)).generate("Hi")
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("step", "leaf"),
    [
        (Refuse("INVALID_ARGUMENT", 400, "max_tokens must be in 1..512, got 0"), InvalidRequestError),
        (Refuse("INTERNAL", 500, "no idea"), EngineError),
        (Complain("a live request has the id 'a'; ids must be unique"), InvalidRequestError),
        (Complain("deadline exceeded: the request's 1 s are over"), DeadlineExceededError),
    ],
)
def test_what_would_fail_again_is_not_sent_again(face, server, step, leaf):
    server.script = [step]
    with pytest.raises(leaf):
        face().generate("Hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize("step", [Die(), Complain("the engine is not running; try again in a few seconds")])
def test_nothing_is_sent_again_after_the_first_delta(face, server, step):
    server.script = [Say("a"), step]
    with pytest.raises(UnavailableError):
        face().take(ALL, "Hi")
    assert len(asked(server)) == 1


def test_unless_asked_and_then_the_stream_goes_on_where_it_was(face, server):
    server.scripts = [[Say("one "), Say("two "), Die()]]
    server.script = [Say("one two"), Say(" three", "stop", {"num_output_tokens": 3})]
    deltas, _ = face(retry=Retry(first_wait_s=0.01, after_first_token=True)).take(ALL, "Hi", seed=1)
    assert "".join(delta.text for delta in deltas) == "one two three"
    assert [delta.finish_reason for delta in deltas][-1] == "stop"
    assert len(asked(server)) == 2


def test_an_answer_that_has_changed_is_not_passed_off_as_the_same(face, server):
    server.scripts = [[Say("one "), Say("two "), Die()]]
    server.script = [Say("one, two", "stop")]
    with pytest.raises(EngineError, match="the answer differs from the one that broke off"):
        face(retry=Retry(first_wait_s=0.01, after_first_token=True)).take(ALL, "Hi", temperature=1.0)


def test_a_cancelled_wait_between_retries_ends_at_once(server, url, protocol):
    server.script = [BUSY]
    with Client(url, protocol, retry=Retry(9, first_wait_s=30, max_wait_s=30)) as client:
        stream, ends = client.stream("Hi"), []
        reader = threading.Thread(target=lambda: ends.append(list(stream)), daemon=True)
        reader.start()
        while not server.requests:
            time.sleep(0.01)
        stream.close()
        reader.join(5)
    assert ends == [[]]
    assert stream.state == "cancelled"


# Deadlines


@pytest.mark.parametrize(
    ("where", "script"), [("client", [Hang()]), ("call", [Say("a"), Hang()])], ids=["before", "after"]
)
def test_a_deadline_ends_a_request_that_hangs_and_the_server_is_told(face, server, where, script):
    """Before its answer began and after. Half a second, because a busy machine takes a while to send it at all."""
    server.script = [*script, Say("", "cancelled")]
    of_client, of_call = ({"timeout_s": 0.5}, {}) if where == "client" else ({}, {"timeout_s": 0.5})
    client = face(**of_client)
    with pytest.raises(DeadlineExceededError, match=r"the request's 0\.5 s are over"):
        client.take(ALL, "Hi", request_id="a", **of_call)
    assert server.cancels == ["a"]
    told = asked(server)[0]["inputs"]["timeout_ms"]
    assert 0 < (told[0] if isinstance(told, list) else told) <= 500


def test_a_deadline_counts_the_retries_too(face, server):
    server.script = [BUSY]
    with pytest.raises(DeadlineExceededError):
        face(retry=Retry(1000, first_wait_s=0.05, max_wait_s=0.05), timeout_s=0.4).generate("Hi")


def test_a_deadline_that_is_kept_changes_nothing(face, server):
    server.script = [Say("a"), Say("b", "stop")]
    deltas, _ = face(timeout_s=30).take(ALL, "Hi")
    assert [delta.text for delta in deltas] == ["a", "b"]
    assert server.cancels == []
