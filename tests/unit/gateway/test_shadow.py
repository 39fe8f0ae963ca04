"""Shadows: a copy after the real answer, compared, never returned, and without any effect on the real one."""

import asyncio
from dataclasses import replace

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.scripted_upstream import Bench, ScriptedUpstreams, config_of, words
from trident.errors import EngineError, InvalidRequestError, SettingsError, UnavailableError
from trident.gateway.comparison import compared
from trident.gateway.shadow import Shadows
from trident_client.completion import Delta, assemble

MODELS = {"chat": {"deployments": {"main": 1}, "shadow": "copy", "max_shadows": 2}}


def surroundings(config=None, **scripts):
    config = config or config_of(MODELS)
    bench = Bench(ScriptedUpstreams(**{"main": words("a", "b"), **scripts}), config)
    told = []
    shadows = Shadows(bench.router, bench.upstreams, lambda *what: told.append(what), 30.0)
    return bench, shadows, told


async def ask(bench, shadows, asked=None):
    """One real request; the shadow's turn comes when it is over."""
    async with bench.exchange(asked) as exchange:
        completion = await exchange.completion()
    shadows.ended(bench.observer.outcomes[-1])
    return completion


def compare(**scripts):
    """How the shadow of one request compared."""
    bench, shadows, told = surroundings(**scripts)

    async def use():
        completion = await ask(bench, shadows)
        await shadows.settle()
        return completion

    assert run(use()).text == "ab"
    assert bench.router.states["copy"].num_running == 0
    ((outcome, shadow, comparison),) = told
    assert (outcome.deployment, shadow) == ("main", "copy")
    return bench, comparison


def test_the_copy_has_an_id_of_its_own_and_is_sent_when_the_real_answer_is_whole():
    bench, found = compare(copy=words("a", "b"))
    real, copy = bench.upstreams.asked
    assert (real[0], copy[0]) == ("main", "copy")
    assert (real[1], real[2]) == (copy[1], copy[2])
    assert real[3] != copy[3]
    assert (found.result, found.winner, found.added_chars) == ("equal", "", 0)


def test_a_copy_is_salted_as_its_own_deployment_is():
    bench, shadows, _ = surroundings(copy=words("a", "b"))
    bench.upstreams.sampling_at = lambda name, asked: replace(asked.sampling, cache_salt=f"salt of {name}")

    async def use():
        await ask(bench, shadows)
        await shadows.settle()

    run(use())
    assert [sampling.cache_salt for _, _, sampling, *_ in bench.upstreams.asked] == ["salt of main", "salt of copy"]


def test_another_text_is_told_as_such_with_its_length():
    _, found = compare(copy=words("abc", "d"))
    assert (found.result, found.added_chars) == ("different", 2)


@pytest.mark.parametrize("failure", [UnavailableError("gone"), EngineError("broke"), InvalidRequestError("no input")])
def test_a_shadow_that_fails_is_told_and_loses(failure):
    _, found = compare(copy=[Delta("a"), failure])
    assert (found.result, found.winner, found.added_latency_s) == ("failed", "real", None)


def test_shadows_that_hang_hold_up_nobody_and_those_beyond_the_bound_are_left_out():
    bench, shadows, told = surroundings(copy=["hang"])

    async def use():
        for _ in range(5):
            assert (await ask(bench, shadows)).text == "ab"
        await asyncio.sleep(0)
        running = bench.router.states["copy"].num_running
        await shadows.close()
        return running

    assert run(use()) == 2
    assert bench.router.states["copy"].num_running == 0
    assert [what[1:] for what in told] == [("copy", None)] * 3
    assert all(stream.is_closed for stream in bench.upstreams.streams)


def test_a_copy_that_cannot_be_made_gives_its_place_back():
    bench, shadows, told = surroundings(copy=words("a", "b"))
    salted = bench.upstreams.sampling_at

    def sampling_at(name, asked):
        if name == "copy":
            raise SettingsError("cannot read the pepper")
        return salted(name, asked)

    bench.upstreams.sampling_at = sampling_at

    async def use():
        await ask(bench, shadows)
        await shadows.settle()

    run(use())
    assert bench.router.states["copy"].num_running == 0
    assert [comparison.result for *_, comparison in told] == ["failed"]


def test_a_deployment_that_is_full_gets_no_copies():
    config = config_of(MODELS, copy={"max_concurrent": 1})
    bench, shadows, told = surroundings(config, copy=words("a"))
    bench.router.enter("copy")
    run(ask(bench, shadows))
    assert [what[1:] for what in told] == [("copy", None)]


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
    found = compared(answers[0], 1.0, answers[1], 2.5)
    assert (found.winner, found.added_latency_s) == (winner, 1.5)


def test_all_sequences_have_to_be_equal():
    one, other = (assemble("id", [Delta("a", "stop"), Delta(text, "stop", sequence_index=1)]) for text in ("b", "c"))
    assert compared(one, 1.0, one, 1.0).result == "equal"
    assert compared(one, 1.0, other, 1.0).result == "different"
