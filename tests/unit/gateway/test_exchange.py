"""Exchanges: one request to one outcome, and whenever its client leaves everything is given back."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.loop import run, turns
from tests.unit.gateway.scripted_upstream import (
    TWO,
    Bench,
    CountingLimiter,
    ScriptedUpstreams,
    asked_for,
    config_of,
    words,
)
from trident.errors import (
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    RateLimitError,
    TridentError,
    UnavailableError,
)
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident_client.completion import Delta
from trident_client.sampling import Sampling


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
        run(bench.read(asked))
    assert len(bench.upstreams.asked) == (error is None)


def test_names_of_models_that_a_key_may_not_ask_are_not_suggested():
    bench = Bench(ScriptedUpstreams(), config_of({"secret-chat": {"deployments": {"main": 1}}}))
    asked = asked_for("secret-chatt", identity=Identity("t", "k", models=frozenset({"chat"})))
    with pytest.raises(NotFoundError, match=r"does not exist$"):
        run(bench.read(asked))


def test_a_completion_longer_than_the_model_gives_is_refused_before_anything_is_reserved():
    config = config_of({"chat": {"deployments": {"main": 1}, "max_tokens": 8}})
    bench = Bench(ScriptedUpstreams(main=words("a")), config)
    with pytest.raises(InvalidRequestError, match="gives 8 at most") as refusal:
        run(bench.read(asked_for(sampling=Sampling(max_tokens=9))))
    assert refusal.value.param == "max_tokens"
    assert bench.limiter.num_reserved == 0


def test_who_is_refused_by_the_limits_is_told_to_no_observer_and_to_no_deployment():
    bench = Bench(ScriptedUpstreams(main=words("a")), config_of(TWO), CountingLimiter(RateLimitError("later")))
    with pytest.raises(RateLimitError):
        run(bench.read())
    assert (bench.observer.began_with, bench.observer.outcomes, bench.upstreams.asked) == ([], [], [])


def test_the_engines_count_is_settled_and_costs_what_the_route_says():
    bench = Bench(ScriptedUpstreams(main=words("a", "b", "c")), config_of(TWO))
    run(bench.read())
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
    run(bench.read())
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
        run(bench.read())
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
    _, exchange = run(bench.read(asked_for("chät\n", prompt="a s3cret")))
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
    _, exchange = run(bench.read())
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
        await turns(leaves_after)
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
