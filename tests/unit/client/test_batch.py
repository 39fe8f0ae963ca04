"""Many prompts at once: every one gets its result, a bounded number is open, and leaving cancels the rest."""

import asyncio
import itertools

import pytest

from trident.errors import InvalidRequestError, QueueFullError
from trident_client import AsyncClient, BatchRequest, Client, Completion, Retry, Sampling
from trident_client.batch import run_batch

from .scripted_server import Hang, Refuse, Say


@pytest.fixture(params=["sync", "async"])
def run(request, url, protocol):
    """`batch` of either face: takes the results, at most `limit`, and leaves."""

    def sync(requests, limit=None, **options):
        with Client(url, protocol, retry=Retry(0)) as client:
            results = client.batch(requests, **options)
            try:
                return list(itertools.islice(results, limit))
            finally:
                results.close()

    async def take(requests, limit, **options):
        found = []
        async with AsyncClient(url, protocol, retry=Retry(0)) as client:
            results = client.batch(requests, **options)
            async for result in results:
                found.append(result)
                if len(found) == limit:
                    break
            await results.aclose()
        return found

    return (
        sync
        if request.param == "sync"
        else lambda *args, limit=None, **options: asyncio.run(take(*args, limit, **options))
    )


def test_every_request_has_one_result_and_failures_are_among_them(run, server):
    server.scripts = [[Refuse("UNAVAILABLE", 503, "the queue is full (8 of 8 sequences)")]]
    server.script = [Say("a", "stop")]
    results = run([f"prompt {number}" for number in range(10)], max_in_flight=3)
    assert sorted(result.index for result in results) == list(range(10))
    assert [type(result.error) for result in results if result.error] == [QueueFullError]
    assert [result.completion.text for result in results if result.completion] == ["a"] * 9


def test_a_request_may_have_its_own_parameters_and_id(run, server):
    server.script = [Say("", "stop")]
    run(["one", BatchRequest("two", Sampling(max_tokens=9), "its id")], max_tokens=5, max_in_flight=1)
    sent = [(seen["inputs"]["max_tokens"], seen["id"]) for seen in server.requests]
    assert [value if isinstance(value, int) else value[0] for value, _ in sent] == [5, 9]
    assert sent[1][1] == "its id"


def test_an_endless_list_is_read_as_far_as_needed(run, server):
    server.script = [Say("a", "stop")]
    taken = []
    endless = (taken.append(number) or f"prompt {number}" for number in itertools.count())
    assert len(run(endless, limit=5, max_in_flight=2)) == 5
    assert len(taken) <= 8


def test_leaving_early_cancels_what_runs(run, server):
    server.scripts = [[Say("a", "stop")]]
    server.script = [Hang()]
    run(["one", "two", "three"], limit=1, max_in_flight=3)
    left = {seen["id"] for seen in server.requests if "stop" not in seen["inputs"]} - {server.requests[0]["id"]}
    assert left <= set(server.cancels)  # and perhaps one that was told before it had reached the server


def test_no_more_than_the_given_number_are_open():
    async def run_it():
        num_open, most = 0, 0

        async def ask(_request):
            nonlocal num_open, most
            num_open += 1
            most = max(most, num_open)
            await asyncio.sleep(0)
            num_open -= 1
            return Completion("id", "", "stop", None, None)

        results = [result async for result in run_batch(ask, ["x"] * 50, 7)]
        return len(results), most

    assert asyncio.run(run_it()) == (50, 7)


def test_a_mistake_in_the_caller_s_own_list_is_not_hidden(run, server):
    server.script = [Say("a", "stop")]

    def broken():
        yield "one"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(broken())


def test_a_batch_of_nothing_at_a_time_is_refused(run):
    with pytest.raises(InvalidRequestError, match="max_in_flight must be 1 or more, got 0"):
        run(["one"], max_in_flight=0)
