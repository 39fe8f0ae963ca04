"""Hits of the semantic cache that are verified: a fraction, in the background, by asking the engine after all."""

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.scripted_upstream import words
from tests.unit.gateway.semantic_gateway import ALIKE, ASKED, Semantic, embed, fail
from trident.errors import EngineError


def answers_of(text):
    return {"main": [words("yes"), words(text)]}


@pytest.mark.parametrize(
    ("engine_says", "num_false"), [("yes", 0), ("yes, it is", 0), ("no", 1)], ids=["same", "other words", "false"]
)
def test_a_hit_is_verified_by_asking_the_engine_after_all(engine_says, num_false):
    gateway = Semantic(chance=0.1, **answers_of(engine_says))

    async def verified():
        assert await gateway.then(ALIKE) == ["semantic"]
        await gateway.verification.settle()
        return gateway.verification.num_verified, gateway.verification.num_false

    assert run(verified()) == (1, num_false)
    assert gateway.num_asked == 2
    assert len(gateway.outcomes) == 2  # nobody is told of the copy


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_only_a_fraction_of_hits_and_nothing_else_is_verified(chance):
    gateway = Semantic(chance=chance)

    async def verified():
        assert await gateway.then(ASKED, ALIKE) == ["exact", "semantic"]
        await gateway.verification.settle()

    run(verified())
    assert (gateway.verification.num_verified, gateway.num_asked) == (0, 1)


def test_an_engine_that_fails_while_a_hit_is_verified_is_no_verdict():
    gateway = Semantic(chance=0.1, main=[words("yes"), [EngineError("broke")]])

    async def verified():
        assert await gateway.then(ALIKE) == ["semantic"]
        await gateway.verification.settle()

    run(verified())
    assert gateway.verification.num_verified == 0


def test_embeddings_that_fail_while_a_hit_is_verified_are_not_the_engine_s_fault():
    calls = []

    async def sometimes(texts):
        calls.append(texts)
        return await (embed if len(calls) < 3 else fail)(texts)

    gateway = Semantic(embed=sometimes, chance=0.1, **answers_of("yes"))

    async def verified():
        assert await gateway.then(ALIKE) == ["semantic"]
        await gateway.verification.settle()

    run(verified())
    assert gateway.verification.num_verified == 0
    assert gateway.router.states["main"].breaker.state == "closed"
