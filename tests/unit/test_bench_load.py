"""The load itself, on a client that is scripted: who is asked when, and what becomes of whom."""

from __future__ import annotations

import asyncio
import math
import re
from itertools import islice

import pytest

from trident.bench.lengths import Lengths
from trident.bench.load import LoadRun, Pressure, Requests, Window, run_load
from trident.errors import InvalidRequestError, QueueFullError
from trident_client import Delta, Sampling

REQUESTS = Requests(Lengths(4), Lengths(2))


class ScriptedStream:
    def __init__(self, client: ScriptedClient) -> None:
        self.client = client
        self.is_over = False

    async def __aenter__(self):
        self.client.running += 1
        self.client.most = max(self.client.most, self.client.running)
        return self

    async def __aexit__(self, *_):
        self.client.running -= 1
        self.client.num_left_early += not self.is_over

    async def __aiter__(self):
        await asyncio.sleep(self.client.answer_s)
        if self.client.error:
            self.is_over = True
            raise self.client.error
        yield Delta("one")
        yield Delta("")  # carries nothing, so it is no response
        yield Delta("two", "length", num_input_tokens=5, num_output_tokens=2)
        self.is_over = True


class ScriptedClient:
    """Answers two tokens after `answer_s`, or fails."""

    def __init__(self, answer_s: float = 0.02, error: Exception | None = None) -> None:
        self.answer_s = answer_s
        self.error = error
        self.asked: list[tuple[str, Sampling, int]] = []
        self.running = self.most = self.num_left_early = 0

    def stream(self, text: str, sampling: Sampling, *, max_tokens: int) -> ScriptedStream:
        self.asked.append((text, sampling, max_tokens))
        return ScriptedStream(self)


def load(client: ScriptedClient, pressure: Pressure, window: Window, requests: Requests = REQUESTS) -> LoadRun:
    return asyncio.run(run_load(client, requests, pressure, window, seed=1))


def test_a_closed_loop_keeps_its_streams_and_leaves_none_running():
    client = ScriptedClient()
    run = load(client, Pressure(concurrency=3), Window(0.1, 0.3))
    assert (client.most, client.running) == (3, 0)
    assert len(run.samples) == len(client.asked) > 3
    whole = [each for each in run.samples if each.is_over]
    assert {(len(each.arrivals_s), each.num_input_tokens, each.num_output_tokens) for each in whole} == {(2, 5, 2)}
    assert all(each.due_s <= each.sent_s <= each.arrivals_s[0] <= each.arrivals_s[1] for each in whole)
    assert client.num_left_early == len(run.samples) - len(whole)


def test_an_open_loop_does_not_wait_for_answers():
    client = ScriptedClient(answer_s=0.2)
    run = load(client, Pressure(rate_per_s=50, burstiness=math.inf), Window(0.0, 0.4))
    assert client.most > 3
    assert [each.due_s for each in run.samples] == pytest.approx([0.02 * number for number in range(len(run.samples))])


def test_what_began_in_the_window_is_seen_to_its_end_and_the_load_stays_on_until_then():
    client = ScriptedClient(answer_s=0.3)
    run = load(client, Pressure(rate_per_s=40), Window(0.05, 0.1))
    assert all(each.is_over for each in run.samples if run.window.holds(each.due_s))
    assert run.samples[-1].due_s > run.window.end_s
    assert not run.samples[-1].is_over


def test_what_does_not_end_is_given_up_after_the_timeout():
    client = ScriptedClient(answer_s=60)
    run = load(client, Pressure(concurrency=2), Window(0.0, 0.05, timeout_s=0.05))
    assert [each.is_over for each in run.samples] == [False, False]
    assert (client.running, client.num_left_early) == (0, 2)


def test_a_failure_is_kept_with_its_reason_and_asked_again_only_after_a_pause():
    client = ScriptedClient(answer_s=0, error=QueueFullError("the queue\nis full"))
    run = load(client, Pressure(concurrency=1), Window(0.0, 0.35))
    assert {each.error for each in run.samples} == {"the queue is full"}
    assert 1 < len(run.samples) <= 5


def test_a_fault_of_the_client_is_not_taken_for_a_refusal():
    with pytest.raises(ZeroDivisionError):
        load(ScriptedClient(error=ZeroDivisionError()), Pressure(concurrency=1), Window(0.0, 0.05))


def test_requests_repeat_for_a_seed_and_share_prefixes_but_nothing_else():
    requests = Requests(Lengths(6), Lengths(9), prefix_words=5, num_prefixes=2)
    found = list(islice(requests.texts(7), 40))
    assert found == list(islice(requests.texts(7), 40)) != list(islice(requests.texts(8), 40))
    prefixes = {" ".join(text.split()[:6]) for text, _ in found}  # a number and five words
    assert len(prefixes) == 2
    assert len({text.split()[6] for text, _ in found}) > 30
    assert {max_tokens for _, max_tokens in found} == {9}


def test_eos_is_ignored_unless_answers_may_end_by_themselves():
    for ignores_eos, end_id in ((True, -1), (False, None)):
        client = ScriptedClient()
        load(client, Pressure(1), Window(0.0, 0.05), Requests(Lengths(4), Lengths(2), ignores_eos=ignores_eos))
        assert {(sampling.end_id, max_tokens) for _, sampling, max_tokens in client.asked} == {(end_id, 2)}


@pytest.mark.parametrize("fields", [{}, {"concurrency": 1, "rate_per_s": 1.0}, {"concurrency": 0}])
def test_a_load_is_open_or_closed_and_not_empty(fields):
    with pytest.raises(InvalidRequestError):
        Pressure(**fields)


@pytest.mark.parametrize(
    ("pressure", "name"),
    [(Pressure(1), "1 stream"), (Pressure(8), "8 streams"), (Pressure(None, 2.5), "2.5/s"),
     (Pressure(None, 2, math.inf), "2/s even"), (Pressure(None, 2, 0.5), "2/s burstiness 0.5")],
)  # fmt: skip
def test_different_loads_have_different_names(pressure, name):
    assert re.fullmatch(re.escape(name), str(pressure))
