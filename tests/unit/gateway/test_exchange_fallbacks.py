"""What an exchange does about deployments that refuse, break off, are set up wrongly or are full."""

import asyncio

import pytest

from tests.unit.gateway.loop import run, turns
from tests.unit.gateway.scripted_upstream import TWO, Bench, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PromptTooLongError,
    QueueFullError,
    RequestCancelledError,
    UnavailableError,
)
from trident_client.completion import Delta
from trident_client.sampling import Sampling


@pytest.mark.parametrize("failure", [UnavailableError("gone"), QueueFullError("full"), EngineError("broke")])
def test_what_fails_before_the_first_delta_is_asked_elsewhere(failure):
    bench = Bench(ScriptedUpstreams(main=[failure], spare=words("a", "b")), config_of(TWO))
    texts, exchange = run(bench.read())
    assert texts == ["a", "b"]
    assert exchange.headers()["x-trident-deployment"] == "spare"
    assert bench.outcome.failures == {"main": failure}
    assert bench.outcome.num_retries == 1
    assert bench.outcome.error is None


def test_what_may_still_run_for_nobody_is_cancelled_and_no_two_attempts_have_the_same_id():
    """Two deployments may be two ensembles of one Triton, which refuses an id that is live."""
    asked = asked_for()
    bench = Bench(ScriptedUpstreams(main=[EngineError("broke")], spare=words("a", "b")), config_of(TWO))
    run(bench.read(asked))
    assert [request_id for *_, request_id, _ in bench.upstreams.asked] == [asked.request_id, f"{asked.request_id}-2"]
    assert bench.upstreams.cancelled == [("main", asked.request_id)]


def test_a_stream_that_breaks_in_its_midst_is_cancelled_too():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), UnavailableError("cut")], spare=[]), config_of(TWO))
    with pytest.raises(UnavailableError):
        run(bench.read())
    assert bench.upstreams.cancelled == [("main", bench.outcome.asked.request_id)]


def test_who_asks_for_the_end_stops_the_attempt_that_runs():
    bench = Bench(ScriptedUpstreams(main=[QueueFullError("full")], spare=words("a", "b")), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            await exchange.stop()
        await exchange.stop()

    run(use())
    assert bench.upstreams.cancelled == [("spare", f"{bench.outcome.asked.request_id}-2")]


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidRequestError("no"),
        PromptTooLongError("long"),
        DeadlineExceededError("late"),
        RequestCancelledError("by its id"),
    ],
)
def test_what_the_request_itself_is_to_blame_for_is_not_asked_elsewhere(refusal):
    bench = Bench(ScriptedUpstreams(main=[refusal], spare=words("a")), config_of(TWO))
    with pytest.raises(type(refusal)):
        run(bench.read())
    assert [name for name, *_ in bench.upstreams.asked] == ["main"]
    assert bench.outcome.error is refusal


@pytest.mark.parametrize(
    "text",
    [
        "unable to find shared memory region: 'triton_python_backend_shm_region_1'",
        "invalid value at /opt/tritonserver/backends/python/model.cc:12",
        "invalid request of ipv4:10.0.0.7:8001",
    ],
)
def test_a_refusal_that_tells_how_a_server_is_made_stays_a_refusal_and_tells_nothing(text):
    bench = Bench(ScriptedUpstreams(main=[InvalidRequestError(text)], spare=words("a")), config_of(TWO))
    with pytest.raises(InvalidRequestError) as raised:
        run(bench.read())
    assert raised.value.message == "the server behind this model does not take this request"
    assert bench.outcome.error.__cause__.message == text


@pytest.mark.parametrize("fault", [NotFoundError("unknown model 'ensemble'"), AuthenticationError("no key")])
def test_a_deployment_that_is_set_up_wrongly_is_unavailable_to_the_client(fault):
    bench = Bench(ScriptedUpstreams(main=[fault]), config_of({"chat": {"deployments": {"main": 1}}}))
    with pytest.raises(UnavailableError):
        run(bench.read())
    assert bench.outcome.error.__cause__ is fault


def test_a_stream_that_breaks_after_a_delta_was_given_fails_with_the_error_and_what_came():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), UnavailableError("gone")], spare=words("b")), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            with pytest.raises(UnavailableError):
                [delta async for delta in exchange]

    run(use())
    assert [name for name, *_ in bench.upstreams.asked] == ["main"]
    assert isinstance(bench.outcome.error, UnavailableError)
    assert not bench.outcome.is_cancelled
    assert bench.outcome.completion.text == "a"


def test_a_whole_answer_that_breaks_off_is_asked_for_anew_elsewhere():
    """Nothing of it was given away, so the client need not know."""
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), EngineError("gone")], spare=words("b", "c")), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            return await exchange.completion()

    assert run(use()).text == "bc"
    assert bench.outcome.deployment == "spare"
    assert bench.outcome.error is None
    assert bench.outcome.completion.text == "bc"


def test_a_whole_answer_fails_when_every_deployment_breaks_off():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), EngineError("1")], spare=[UnavailableError("2")]), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            await exchange.completion()

    with pytest.raises(UnavailableError):
        run(use())
    assert isinstance(bench.outcome.error, UnavailableError)
    assert len(bench.limiter.settled) == 1


def test_sequences_that_ended_on_a_deployment_that_broke_off_do_not_count():
    """One of two had ended there; of the new answer one has, and the client leaves."""
    scripts = {"main": [Delta("a", "stop"), EngineError("broke")], "spare": [Delta("b", "stop"), "hang"]}
    bench = Bench(ScriptedUpstreams(**scripts), config_of(TWO))

    async def use():
        async with bench.exchange(asked_for(sampling=Sampling(max_tokens=4, num_return_sequences=2))) as exchange:
            await exchange.completion()

    async def leave():
        asking = asyncio.ensure_future(use())
        await turns()
        asking.cancel()
        await asyncio.wait([asking])

    run(leave())
    assert bench.outcome.is_cancelled
    assert bench.outcome.completion.text == "b"


def test_what_was_read_in_part_is_not_asked_for_anew():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), EngineError("broke")], spare=words("b")), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            await exchange.__anext__()
            await exchange.completion()

    with pytest.raises(EngineError):
        run(use())
    assert len(bench.upstreams.asked) == 1


def test_a_request_that_breaks_what_serves_it_is_sent_to_three_deployments_at_most():
    names = [f"d{number}" for number in range(6)]
    models = {"chat": {"deployments": dict.fromkeys(names, 1)}}
    bench = Bench(ScriptedUpstreams(**{name: [EngineError("died")] for name in names}), config_of(models))
    with pytest.raises(EngineError):
        run(bench.read())
    assert len(bench.upstreams.asked) == 3


def test_a_deployment_with_all_the_requests_it_may_have_is_passed_over():
    models = {"chat": {"deployments": {"main": 1}, "fallbacks": ["spare"]}}
    bench = Bench(ScriptedUpstreams(main=words("a"), spare=words("b")), config_of(models, main={"max_concurrent": 1}))

    async def use():
        async with bench.exchange() as first, bench.exchange() as second:
            return first.outcome.deployment, second.outcome.deployment

    assert run(use()) == ("main", "spare")
    assert bench.router.states["main"].num_running == 0


def test_when_every_deployment_has_all_its_requests_the_queue_is_full():
    config = config_of({"chat": {"deployments": {"main": 1}}}, main={"max_concurrent": 1})
    bench = Bench(ScriptedUpstreams(main=words("a")), config)

    async def use():
        async with bench.exchange():
            with pytest.raises(QueueFullError):
                await bench.exchange().start()

    run(use())


def test_a_deployment_that_fails_is_left_alone_after_a_while():
    bench = Bench(ScriptedUpstreams(main=[UnavailableError("gone")], spare=words("b")), config_of(TWO))

    async def use():
        for _ in range(5):
            async with bench.exchange() as exchange:
                await exchange.completion()

    run(use())
    assert [name for name, *_ in bench.upstreams.asked].count("main") == 3


def test_a_probe_that_is_closed_before_it_is_answered_leaves_the_breaker_open():
    """Ended from another task, as when the server stops: the stream's end is no answer of the deployment."""
    config = config_of({"chat": {"deployments": {"main": 1}}}, main={"breaker": {"rest_s": 0.001}})
    bench = Bench(ScriptedUpstreams(main=[UnavailableError("gone")]), config)

    async def use():
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await bench.exchange().start()
        await asyncio.sleep(0.01)
        bench.upstreams.scripts["main"] = [*[1] * 50]
        probe = bench.exchange()
        starting = asyncio.ensure_future(probe.start())
        await turns(2)
        await probe.aclose()
        await asyncio.gather(starting, return_exceptions=True)

    run(use())
    assert bench.router.states["main"].breaker.state == "open"
