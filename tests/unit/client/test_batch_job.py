"""A batch job: each line answered once, whatever happens to the process that asks."""

import asyncio
import json
import random
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    PermissionDeniedError,
    QuotaError,
    SettingsError,
    UnavailableError,
)
from trident_client.batch import BatchResult
from trident_client.batch_job import BatchJob
from trident_client.batch_output import AnswerFile, FailureFile
from trident_client.completion import Completion
from trident_client.sampling import Sampling

GROUNDED = {"messages": [{"role": "user", "content": "x"}], "retrieval": {"collection": "manuals"}}


class KilledError(Exception):
    """The process is no more."""


class Server:
    """Answers a batch: echoes each prompt, in an order of its own; `errors` by prompt."""

    def __init__(self, *, limit=None, seed=0, errors=None, is_ready=True):
        self.asked = []
        self._limit = limit  # answers until the process is killed
        self._random = random.Random(seed)
        self._errors = errors or {}
        self._is_ready = is_ready

    async def ask(self, requests):
        waiting = []
        for number, request in enumerate(requests):
            self.asked.append(request.prompt)
            waiting.append((number, request))
            while len(waiting) > 3:
                yield self._answer(waiting)
        while waiting:
            yield self._answer(waiting)

    async def is_ready(self):
        return self._is_ready

    def _answer(self, waiting):
        if self._limit is not None:
            if not self._limit:
                raise KilledError
            self._limit -= 1
        number, request = waiting.pop(self._random.randrange(len(waiting)))
        if request.prompt in self._errors:
            return BatchResult(number, error=self._errors[request.prompt])
        return BatchResult(number, Completion("r", f"<{request.prompt}>", "stop", 1, 2))


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


class Folder:
    """Where a job's files are."""

    def __init__(self, path):
        self.output, self.failed = path / "out.jsonl", path / "out.failed.jsonl"

    def run(self, lines, server, base=None, form=None, model="ensemble"):
        """One run of the job, and its tally."""
        with closing(AnswerFile(self.output)) as answers, closing(FailureFile(self.failed)) as failures:
            job = BatchJob(
                lines, answers, failures, base=base or Sampling(), form=form, model=model, clock=lambda: 17.0
            )
            asyncio.run(job.run(server.ask, server.is_ready, lambda _: None))
        return job.tally

    def answers(self):
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def failures(self):
        return [json.loads(line) for line in self.failed.read_bytes().splitlines()]


def prompts(number):
    return [f"p{each}\n".encode() for each in range(number)]


@given(
    number=st.integers(0, 12),
    kills=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 200)), max_size=4),
    seed=st.integers(0, 5),
)
def test_however_often_it_is_killed_the_output_is_that_of_one_run(tmp_path_factory, number, kills, seed):
    undisturbed, folder = Folder(tmp_path_factory.mktemp("a")), Folder(tmp_path_factory.mktemp("b"))
    undisturbed.run(prompts(number), Server())
    for limit, num_torn_bytes in kills:
        try:
            folder.run(prompts(number), Server(limit=limit, seed=seed))
        except KilledError:
            whole = folder.output.read_bytes()
            last = len(whole.splitlines(keepends=True)[-1]) if whole else 0
            folder.output.write_bytes(whole[: len(whole) - min(num_torn_bytes, last)])
    num_there = folder.output.read_bytes().count(b"\n") if folder.output.exists() else 0
    server = Server(seed=seed)
    folder.run(prompts(number), server)
    assert folder.output.read_bytes() == undisturbed.output.read_bytes()
    assert [answer["text"] for answer in folder.answers()] == [f"<p{each}>" for each in range(number)]
    assert len(server.asked) == number - num_there  # nothing is asked whose answer was there


def test_failures_are_in_a_file_of_their_own_and_are_asked_again(folder):
    errors = {"p1": EngineError("it broke"), "p3": DeadlineExceededError("late")}
    tally = folder.run(prompts(5), Server(errors=errors))
    assert (tally.num_answered, tally.num_failed) == (3, 2)
    assert sorted((each["line"], each["error"]["message"]) for each in folder.failures()) == [
        (2, "it broke"),
        (4, "late"),
    ]
    again = Server()
    tally = folder.run(prompts(5), again)
    assert (tally.num_before, tally.num_answered, sorted(again.asked)) == (3, 2, ["p1", "p3"])
    assert not folder.failed.exists()
    assert [each["line"] for each in folder.answers()] == [1, 2, 3, 4, 5]


def test_bad_lines_are_told_by_their_number_and_the_others_are_answered(folder):
    openai = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "x"}}
    lines = [
        json.dumps(openai).encode(),
        b"",
        json.dumps(openai).encode(),
        b'{"prompt": "x"',
        b'{"prompt": "x", "max_tokns": 5}',
        b'{"prompt": "\xff"}',
        b'["x"]',
        json.dumps({**openai, "custom_id": "b", "url": "/v1/embeddings"}).encode(),
        json.dumps({**openai, "custom_id": "c", "body": {"prompt": "x", "stream": True}}).encode(),
        b'{"prompt": "\\ud800"}',
        json.dumps({**openai, "custom_id": "e", "url": "/v1/chat/completions", "body": GROUNDED}).encode(),
        b'{"prompt": "fine", "custom_id": "d"}',
    ]
    tally = folder.run([line + b"\n" for line in lines], Server())
    assert (tally.num_answered, tally.num_bad_lines, tally.num_failed) == (2, 9, 9)
    messages = {
        each["line"]: (each.get("error") or each["response"]["body"]["error"])["message"] for each in folder.failures()
    }
    assert messages == {
        3: "custom_id 'a' is that of line 1 already",
        4: "not JSON: Expecting ',' delimiter, column 15",
        5: "unknown sampling parameter 'max_tokns'; did you mean 'max_tokens'?",
        6: "not valid UTF-8 (byte 12)",
        7: "not a JSON object",
        8: "url must be /v1/chat/completions or /v1/completions, got '/v1/embeddings'",
        9: "stream True is not supported; leave it out",
        10: "half a surrogate pair (\\ud800 to \\udfff) is no character",
        11: "documents are the gateway's; leave retrieval out",
    }
    first, second = folder.answers()
    assert first == {
        "id": first["id"],
        "custom_id": "a",
        "response": {
            "status_code": 200,
            "request_id": "r",
            "body": {
                "id": "cmpl-r",
                "object": "text_completion",
                "created": 17,
                "model": "m",
                "choices": [{"index": 0, "text": "<x>", "logprobs": None, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 1,
                    "completion_tokens": 2,
                    "total_tokens": 3,
                    "prompt_tokens_details": {"cached_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 0},
                },
            },
        },
        "error": None,
    }
    assert (second["line"], second["custom_id"], second["text"]) == (12, "d", "<fine>")


def test_a_file_whose_first_line_is_no_object_holds_prompts_as_they_are(folder):
    server = Server()
    folder.run([b"\xef\xbb\xbfone\r\n", b"\n", b'{"prompt": 1}\n', b"last"], server)
    assert server.asked == ["one", '{"prompt": 1}', "last"]


def test_the_format_may_be_said_instead(folder):
    server = Server()
    folder.run([b'{"prompt": 1}\n'], server, form="text")
    assert server.asked == ['{"prompt": 1}']


@pytest.mark.parametrize("other", ["line", "parameter", "model"])
def test_an_output_of_another_input_model_or_parameters_is_not_gone_on_with(folder, other):
    folder.run(prompts(2), Server())
    before = folder.output.read_bytes()
    lines = [*prompts(1), b"other\n"] if other == "line" else prompts(2)
    base = Sampling(max_tokens=3) if other == "parameter" else None
    with pytest.raises(SettingsError, match=r"answers another input, model or parameters at line \d"):
        folder.run(lines, Server(), base, model="other" if other == "model" else "ensemble")
    assert folder.output.read_bytes() == before


@pytest.mark.parametrize("content", [b"my notes", b"my notes\n", b'{"id": 5}\n', b"\n"])
def test_a_file_that_is_not_the_job_s_is_left_alone(folder, content):
    folder.output.write_bytes(content)
    with pytest.raises(SettingsError, match="was not written by a batch job"):
        folder.run(prompts(1), Server())
    assert folder.output.read_bytes() == content
    folder.output.unlink()
    folder.failed.write_bytes(content)
    with pytest.raises(SettingsError, match="was not written by a batch job"):
        folder.run(prompts(1), Server())
    assert folder.failed.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named(folder):
    folder.run(prompts(3), Server())
    first, _, third = folder.output.read_bytes().splitlines(keepends=True)
    folder.output.write_bytes(first + b"rubbish\n" + third)
    with pytest.raises(SettingsError, match="line 2 is no answer; remove that line"):
        folder.run(prompts(3), Server())
    folder.output.write_bytes(first + third)
    server = Server()
    folder.run(prompts(3), server)
    assert server.asked == ["p1"]


def test_two_jobs_do_not_write_one_file(folder):
    with closing(AnswerFile(folder.output)), pytest.raises(SettingsError, match="another job writes"):
        AnswerFile(folder.output)


def test_a_job_without_a_server_stops_and_keeps_what_it_has(folder):
    errors = {"p2": UnavailableError("nobody there")}
    with pytest.raises(UnavailableError, match="nobody there"):
        folder.run(prompts(20), Server(errors=errors, is_ready=False))
    num_there = len(folder.answers())
    assert num_there < 19
    assert folder.run(prompts(20), Server()).num_before == num_there


def test_a_request_that_no_server_survives_fails_alone(folder):
    tally = folder.run(prompts(4), Server(errors={"p2": UnavailableError("it went away")}))
    assert (tally.num_answered, tally.num_failed) == (3, 1)


def test_an_answer_that_somebody_cancelled_is_a_failure(folder):
    class Cancelling(Server):
        def _answer(self, waiting):
            return BatchResult(waiting.pop()[0], Completion("r", "half", "cancelled", 1, 2))

    assert folder.run(prompts(1), Cancelling()).num_failed == 1
    assert folder.failures()[0]["error"]["code"] == "request_cancelled"


@pytest.mark.parametrize("leaf", [AuthenticationError, PermissionDeniedError, QuotaError])
def test_a_refusal_that_holds_for_every_line_stops_the_job_and_fails_no_line(folder, leaf):
    with pytest.raises(leaf, match="not with this key"):
        folder.run(prompts(4), Server(errors={"p2": leaf("not with this key")}))
    assert not folder.failed.exists()
    assert folder.run(prompts(4), Server()).num_failed == 0
    assert len(folder.answers()) == 4
