"""Exchanges: one request to one outcome, whatever its deployments do and whenever its client leaves."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.scripted_upstream import Bench, CountingLimiter, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PromptTooLongError,
    QueueFullError,
    RateLimitError,
    RequestCancelledError,
    TridentError,
    UnavailableError,
)
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident_client.completion import Delta
from trident_client.sampling import Sampling

TWO = {"chat": {"deployments": {"main": 1}, "fallbacks": ["spare"], "price": {"output_per_million": 1e6}}}


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def read(bench, asked=None):
    """Every text, and the exchange after its end."""
    async with bench.exchange(asked) as exchange:
        texts = [delta.text async for delta in exchange]
    return texts, exchange


@pytest.mark.parametrize("failure", [UnavailableError("gone"), QueueFullError("full"), EngineError("broke")])
def test_what_fails_before_the_first_delta_is_asked_elsewhere(failure):
    bench = Bench(ScriptedUpstreams(main=[failure], spare=words("a", "b")), config_of(TWO))
    texts, exchange = run(read(bench))
    assert texts == ["a", "b"]
    assert exchange.headers()["x-trident-deployment"] == "spare"
    assert bench.outcome.failures == {"main": failure}
    assert bench.outcome.num_retries == 1
    assert bench.outcome.error is None


def test_what_may_still_run_for_nobody_is_cancelled_and_no_two_attempts_have_the_same_id():
    """Two deployments may be two ensembles of one Triton, which refuses an id that is live."""
    asked = asked_for()
    bench = Bench(ScriptedUpstreams(main=[EngineError("broke")], spare=words("a", "b")), config_of(TWO))
    run(read(bench, asked))
    assert [request_id for *_, request_id, _ in bench.upstreams.asked] == [asked.request_id, f"{asked.request_id}-2"]
    assert bench.upstreams.cancelled == [("main", asked.request_id)]


def test_a_stream_that_breaks_in_its_midst_is_cancelled_too():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), UnavailableError("cut")], spare=[]), config_of(TWO))
    with pytest.raises(UnavailableError):
        run(read(bench))
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
        run(read(bench))
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
        run(read(bench))
    assert raised.value.message == "the server behind this model does not take this request"
    assert bench.outcome.error.__cause__.message == text


@pytest.mark.parametrize("fault", [NotFoundError("unknown model 'ensemble'"), AuthenticationError("no key")])
def test_a_deployment_that_is_set_up_wrongly_is_unavailable_to_the_client(fault):
    bench = Bench(ScriptedUpstreams(main=[fault]), config_of({"chat": {"deployments": {"main": 1}}}))
    with pytest.raises(UnavailableError):
        run(read(bench))
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
        await asyncio.sleep(0.05)
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
        run(read(bench))
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


@pytest.mark.parametrize(
    ("model", "models", "error"),
    [
        ("chat", {"other"}, PermissionDeniedError),
        ("alias", {"other"}, PermissionDeniedError),
        ("nothing", {"chat"}, NotFoundError),
        ("chat", {"chat"}, None),
        ("alias", {"chat"}, None),
        ("alias", {"alias"}, None),
        ("chat", {"alias"}, PermissionDeniedError),
    ],
)
def test_a_key_may_ask_the_models_of_its_list_by_name_or_alias(model, models, error):
    config = config_of({"chat": {"deployments": {"main": 1}, "aliases": ["alias"]}})
    bench = Bench(ScriptedUpstreams(main=words("a")), config)
    asked = asked_for(model, identity=Identity("t", "k", models=frozenset(models)))
    with contextlib.nullcontext() if error is None else pytest.raises(error):
        run(read(bench, asked))
    assert len(bench.upstreams.asked) == (error is None)


def test_names_of_models_that_a_key_may_not_ask_are_not_suggested():
    bench = Bench(ScriptedUpstreams(), config_of({"secret-chat": {"deployments": {"main": 1}}}))
    asked = asked_for("secret-chatt", identity=Identity("t", "k", models=frozenset({"chat"})))
    with pytest.raises(NotFoundError, match=r"does not exist$"):
        run(read(bench, asked))


def test_a_completion_longer_than_the_model_gives_is_refused_before_anything_is_reserved():
    config = config_of({"chat": {"deployments": {"main": 1}, "max_tokens": 8}})
    bench = Bench(ScriptedUpstreams(main=words("a")), config)
    with pytest.raises(InvalidRequestError, match="gives 8 at most") as refusal:
        run(read(bench, asked_for(sampling=Sampling(max_tokens=9))))
    assert refusal.value.param == "max_tokens"
    assert bench.limiter.num_reserved == 0


def test_who_is_refused_by_the_limits_is_told_to_no_observer_and_to_no_deployment():
    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(TWO), CountingLimiter(RateLimitError("later")))
    with pytest.raises(RateLimitError):
        run(read(bench))
    assert (bench.observer.began_with, bench.observer.outcomes, bench.upstreams.asked) == ([], [], [])


def test_the_engines_count_is_settled_and_costs_what_the_route_says():
    bench = Bench(ScriptedUpstreams(main=words("a", "b", "c")), config_of(TWO))
    run(read(bench))
    assert bench.limiter.settled == [(4 + 3, 3.0)]
    assert bench.outcome.cost == 3.0


def test_of_an_answer_that_was_cut_off_an_estimate_is_settled():
    bench = Bench(ScriptedUpstreams(main=[Delta("abcdef"), "hang"]), config_of(TWO))

    async def use():
        async with bench.exchange(asked_for(prompt="xyz")) as exchange:
            await exchange.__anext__()

    run(use())
    assert bench.limiter.settled == [(1 + 2, 2.0)]
    assert bench.outcome.is_cancelled


def test_the_upstream_gets_what_is_left_of_the_requests_time():
    bench = Bench(ScriptedUpstreams(main=[UnavailableError("gone")], spare=words("a")), config_of(TWO), timeout_s=30.0)
    run(read(bench))
    first, second = (seconds for *_, seconds in bench.upstreams.asked)
    assert 30.0 >= first >= second > 0


def test_who_waits_for_the_same_answer_waits_no_longer_than_its_own_time():
    class Cache:
        async def find(self, asked, decision):
            await asyncio.Event().wait()

    async def use():
        exchange = Exchange(
            asked_for(), bench.router, bench.limiter, bench.upstreams, [bench.observer],
            timeout_s=0.01, background=bench.background, cache=Cache(),
        )  # fmt: skip
        with pytest.raises(DeadlineExceededError):
            await exchange.start()

    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(TWO))
    run(use())
    assert bench.upstreams.asked == []
    assert bench.limiter.settled == [(0, 0.0)]


def test_a_request_whose_time_is_over_is_sent_nowhere():
    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(TWO), timeout_s=0.0)
    with pytest.raises(DeadlineExceededError):
        run(read(bench))
    assert bench.upstreams.asked == []


def test_a_failure_of_the_caller_is_no_cancel():
    bench = Bench(ScriptedUpstreams(main=[Delta("a"), "hang"]), config_of(TWO))

    async def use():
        async with bench.exchange():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(use())
    assert isinstance(bench.outcome.error, EngineError)
    assert not bench.outcome.is_cancelled


def test_the_second_iteration_gives_nothing_and_leaving_late_changes_nothing():
    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            [delta async for delta in exchange]
            assert [delta async for delta in exchange] == []
        await exchange.aclose(ZeroDivisionError())
        assert [delta async for delta in exchange] == []

    run(use())
    assert bench.outcome.error is None
    assert not bench.outcome.is_cancelled


def test_an_answer_that_was_read_to_its_finish_reason_was_not_left():
    """A client that knows the end closes the connection before the stream says that there is no more."""
    bench = Bench(ScriptedUpstreams(main=[*words("a"), "hang"]), config_of(TWO))

    async def use():
        async with bench.exchange() as exchange:
            await exchange.__anext__()

    run(use())
    assert not bench.outcome.is_cancelled


def test_headers_are_printable_and_without_the_prompt():
    models = {"chät\n": {"deployments": {"main": 1}}}
    rules = [{"name": "naïve", "when": {"prompt_matches": "s3cret"}, "use_model": "chät\n"}]
    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(models, rules))
    _, exchange = run(read(bench, asked_for("chät\n", prompt="a s3cret")))
    told = exchange.headers()
    assert told["x-trident-route"] == "model ch?t?; rule na?ve: model ch?t?; its only deployment"
    assert told["x-ratelimit-limit-requests"] == "5"


def test_a_rule_may_escalate_to_the_model_that_was_asked_at_its_price():
    models = {
        "cheap": {"deployments": {"small": 1}, "price": {"output_per_million": 1e6}},
        "chat": {"deployments": {"main": 1}, "price": {"output_per_million": 5e6}},
    }
    rules = [{"name": "low value", "when": {"model": "chat"}, "use_model": "cheap", "escalate": True}]
    bench = Bench(ScriptedUpstreams(small=[QueueFullError("full")], main=words("a")), config_of(models, rules))
    _, exchange = run(read(bench))
    assert bench.outcome.decision.model == "chat"
    assert bench.outcome.cost == 5.0
    assert "escalated to chat" in exchange.headers()["x-trident-route"]


STEP = st.sampled_from([0, 1, 3, Delta("x"), "hang", UnavailableError("u"), QueueFullError("q"), EngineError("e"),
                        InvalidRequestError("i"), DeadlineExceededError("d")])  # fmt: skip
SCRIPT = st.lists(STEP, max_size=4).flatmap(lambda steps: st.sampled_from([steps, [*steps, *words("y", "z")]]))


@given(
    scripts=st.lists(SCRIPT, min_size=3, max_size=3),
    leaves_after=st.integers(0, 40),  # turns of the event loop
    how=st.sampled_from(["stream", "whole", "one delta"]),
    reserve_turns=st.integers(0, 3),
    is_cancelled_twice=st.booleans(),
)
def test_whenever_a_client_leaves_there_is_one_outcome_and_everything_is_given_back(
    scripts, leaves_after, how, reserve_turns, is_cancelled_twice
):
    """Any interleaving: one `ended` for each `began`, one settlement, every stream closed, every place left."""
    models = {"chat": {"deployments": {"a": 1}, "fallbacks": ["b", "c"]}}
    upstreams = ScriptedUpstreams(**dict(zip("abc", scripts, strict=True)))
    bench = Bench(upstreams, config_of(models), CountingLimiter(turns=reserve_turns))
    given_away = []

    async def client():
        async with bench.exchange() as exchange:
            if how == "whole":
                given_away.append((await exchange.completion()).text)
                return
            async for delta in exchange:
                given_away.append(delta.text)
                if how == "one delta":
                    return

    async def use():
        task = asyncio.ensure_future(client())
        for _ in range(leaves_after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        if is_cancelled_twice:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, TridentError):
            await task
        await bench.settle()

    run(use())
    assert len(bench.observer.began_with) == len(bench.observer.outcomes) == bench.limiter.num_reserved <= 1
    assert len(bench.limiter.settled) == bench.limiter.num_reserved
    assert all(stream.is_closed for stream in upstreams.streams)
    assert all(state.num_running == 0 for state in bench.router.states.values())
    for outcome in bench.observer.outcomes:
        is_whole = outcome.error is None and not outcome.is_cancelled
        assert outcome.error is None or not outcome.is_cancelled
        assert not (is_whole and how != "one delta") or "".join(given_away) == (outcome.completion or Delta("")).text
        assert isinstance(outcome.error, (TridentError, type(None)))


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
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await probe.aclose()
        await asyncio.gather(starting, return_exceptions=True)

    run(use())
    assert bench.router.states["main"].breaker.state == "open"
