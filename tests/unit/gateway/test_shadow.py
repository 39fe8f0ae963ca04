"""Shadows: a copy after the real answer, compared, never returned, and without any effect on the real one."""

import asyncio

import pytest

from tests.unit.gateway.scripted_upstream import Bench, ScriptedUpstreams, config_of, words
from trident.errors import EngineError, InvalidRequestError, UnavailableError
from trident.gateway.config import Deployment
from trident.gateway.route_statistics import RouteStatistics
from trident.gateway.shadow import Shadows, compared
from trident_client.completion import Delta, assemble

MODELS = {"chat": {"deployments": {"main": 1}, "shadow": "copy", "max_shadows": 2}}


def surroundings(config=None, **scripts):
    config = config or config_of(MODELS)
    bench = Bench(ScriptedUpstreams(**{"main": words("a", "b"), **scripts}), config)
    statistics = RouteStatistics(config.deployments)
    shadows = Shadows(bench.router, bench.upstreams, statistics, 30.0)
    return bench, shadows, statistics


async def ask(bench, shadows, asked=None):
    """One real request; the shadow's turn comes when it is over."""
    async with bench.exchange(asked) as exchange:
        completion = await exchange.completion()
    shadows.ended(bench.observer.outcomes[-1])
    return completion


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def compare(**scripts):
    """What is known of the shadow after one request."""
    bench, shadows, statistics = surroundings(**scripts)

    async def use():
        completion = await ask(bench, shadows)
        await shadows.settle()
        return completion

    assert run(use()).text == "ab"
    assert bench.router.states["copy"].num_running == 0
    return bench, statistics.shadows("chat")["main", "copy"]


def test_the_copy_has_an_id_of_its_own_and_is_sent_when_the_real_answer_is_whole():
    bench, arm = compare(copy=words("a", "b"))
    real, copy = bench.upstreams.asked
    assert (real[0], copy[0]) == ("main", "copy")
    assert (real[1], real[2]) == (copy[1], copy[2])
    assert real[3] != copy[3]
    assert (arm.num_compared, arm.num_equal, arm.num_failed) == (1, 1, 0)


def test_another_text_is_counted_as_such_with_its_length():
    _, arm = compare(copy=words("abc", "d"))
    assert (arm.num_compared, arm.num_equal) == (1, 0)
    assert list(arm.added_chars.values()) == [2.0]


@pytest.mark.parametrize("failure", [UnavailableError("gone"), EngineError("broke"), InvalidRequestError("no input")])
def test_a_shadow_that_fails_is_counted_and_loses(failure):
    _, arm = compare(copy=[Delta("a"), failure])
    assert (arm.num_failed, arm.num_lost, arm.num_equal) == (1, 1, 0)


def test_shadows_that_hang_hold_up_nobody_and_those_beyond_the_bound_are_left_out():
    bench, shadows, statistics = surroundings(copy=["hang"])

    async def use():
        for _ in range(5):
            assert (await ask(bench, shadows)).text == "ab"
        await asyncio.sleep(0)
        running = bench.router.states["copy"].num_running
        await shadows.close()
        return running

    assert run(use()) == 2
    assert bench.router.states["copy"].num_running == 0
    assert statistics.shadows("chat")["main", "copy"].num_left_out == 3
    assert all(stream.is_closed for stream in bench.upstreams.streams)


def test_a_deployment_that_is_full_gets_no_copies():
    config = config_of(MODELS, copy={"max_concurrent": 1})
    bench, shadows, statistics = surroundings(config, copy=words("a"))
    bench.router.enter("copy")
    run(ask(bench, shadows))
    assert statistics.shadows("chat")["main", "copy"].num_left_out == 1


def test_of_an_answer_that_failed_or_was_left_no_copy_is_sent():
    bench, shadows, _ = surroundings(main=[Delta("a"), EngineError("broke")], copy=words("a"))

    async def use():
        async with bench.exchange() as exchange:
            with pytest.raises(EngineError):
                [delta async for delta in exchange]
        async with bench.exchange() as exchange:
            await exchange.__anext__()
        for outcome in bench.observer.outcomes:
            shadows.ended(outcome)
        await shadows.settle()

    run(use())
    assert {name for name, *_ in bench.upstreams.asked} == {"main"}


def test_the_deployment_that_answered_is_not_its_own_shadow():
    config = config_of({"chat": {"deployments": {"main": 1}, "shadow": "main"}})
    bench, shadows, _ = surroundings(config)
    run(ask(bench, shadows))
    assert len(bench.upstreams.asked) == 1


def test_a_shadow_may_not_be_in_the_file_any_more():
    bench, shadows, _ = surroundings(copy=words("a"))

    async def use():
        async with bench.exchange() as exchange:
            await exchange.completion()
        bench.router.update(config_of({"other": {"deployments": {"main": 1}}}))
        shadows.ended(bench.outcome)
        await shadows.settle()

    run(use())
    assert len(bench.upstreams.asked) == 1


@pytest.mark.parametrize(
    ("real", "shadow", "winner"),
    [("stop", "length", "real"), ("length", "stop", "shadow"), ("length", "length", ""), ("stop", "stop", "")],
)
def test_an_answer_that_came_to_its_end_wins_over_one_that_was_cut_off(real, shadow, winner):
    answers = [assemble("id", words(text, finish_reason=reason)) for text, reason in (("x", real), ("y", shadow))]
    assert compared(answers[0], 1.0, answers[1], 2.0).winner == winner


def test_all_sequences_have_to_be_equal():
    one, other = (assemble("id", [Delta("a", "stop"), Delta(text, "stop", sequence_index=1)]) for text in ("b", "c"))
    assert compared(one, 1.0, one, 1.0).is_equal
    assert not compared(one, 1.0, other, 1.0).is_equal


def test_statistics_of_a_deployment_that_moved_begin_anew():
    statistics = RouteStatistics({"main": Deployment(url="a:1"), "copy": Deployment(url="b:1")})
    statistics.feedback("chat", "main", 1.0)
    statistics.feedback("chat", "copy", 1.0)
    statistics.update({"main": Deployment(url="a:1", max_concurrent=3), "copy": Deployment(url="b:1", version="2")})
    assert list(statistics.arms("chat")) == ["main"]
