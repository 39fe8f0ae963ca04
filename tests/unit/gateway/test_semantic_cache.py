"""An answer goes to the same question in other words, where the threshold and the gate agree; and to nobody else."""

import asyncio
import json
from dataclasses import replace

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.scripted_upstream import asked_for, words
from tests.unit.gateway.semantic_gateway import ALIKE, ASKED, Semantic, embed, fail
from trident.errors import SettingsError, UnavailableError
from trident.gateway.cache.memory_vectors import MemoryVectors
from trident.gateway.cache.payload import read_payload, to_payload
from trident.gateway.cache.store import Entry
from trident.gateway.cache.vectors import Item
from trident.gateway.config_file import parse_config
from trident.gateway.identity import Identity
from trident_client.completion import Delta
from trident_client.sampling import Sampling


def test_the_same_question_in_other_words_has_the_same_answer_and_says_why():
    gateway = Semantic()

    async def both():
        return await gateway.ask(), await gateway.ask(ALIKE)

    first, second = run(both())
    assert first == ("ab", "miss", "nothing near")
    assert second == ("ab", "semantic", "cosine 0.98, gate: agrees")
    assert gateway.num_asked == 1
    assert [(outcome.cache, outcome.cost) for outcome in gateway.outcomes] == [("", 0), ("semantic", 0)]


def test_both_gates_must_agree_and_the_reason_quotes_nobody():
    """One is too far away; the others are near, and a negation or a number is different."""

    async def reasons():
        gateway = Semantic()
        await gateway.ask()
        far = await gateway.ask("How can I reset my password?")
        negated = await gateway.ask("How do I never reset my password?")
        counted = await gateway.ask("How do I reset my password on 2 phones?")
        return [far[1:], negated[1:], counted[1:]], gateway.semantic.num["refused"]

    found, num_refused = run(reasons())
    assert found == [
        ("miss", "nothing near"), ("miss", "cosine 1.00, gate: negation"), ("miss", "cosine 1.00, gate: numbers"),
    ]  # fmt: skip
    assert num_refused == 2


def test_a_route_s_own_threshold_goes_before_the_file_s():
    assert run(Semantic(threshold=0.99).then(ALIKE)) == ["miss"]
    assert run(Semantic(threshold=0.5).then("How can I reset my password?")) == ["semantic"]


CHANGES = {
    "tenant": {"identity": Identity("other", "key")},
    "system prompt": {"prompt": [{"role": "system", "content": "Be short."}, {"role": "user", "content": ALIKE}]},
    "earlier message": {
        "prompt": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": ALIKE},
        ]
    },
    "name of the user": {"prompt": [{"role": "user", "content": ALIKE, "name": "Ann"}]},
    "role": {"prompt": [{"role": "assistant", "content": ALIKE}]},
    "max_tokens": {"sampling": Sampling(max_tokens=17)},
    "seed": {"sampling": Sampling(max_tokens=16, seed=1)},
    "tools": {"sampling": Sampling(max_tokens=16, tools=[{"type": "function", "function": {"name": "f"}}])},
    "guide": {"sampling": Sampling(max_tokens=16, guided_decoding_guide={"type": "object"})},
    "lora_name": {"sampling": Sampling(max_tokens=16, lora_name="x")},
    "operation": {"operation": "text_completion"},
    "parts": {"prompt": [{"role": "user", "content": [{"type": "text", "text": ALIKE}]}]},
    "plain text": {"prompt": ALIKE},
    "length": {"prompt": [{"role": "user", "content": ALIKE + " " * 1000}]},
    "fresh": {"cache": "no-cache"},
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_but_the_last_question_s_words_may_differ(change):
    assert run(Semantic().then(ALIKE, **change)) == ["miss"]


def test_a_question_at_the_end_of_the_same_conversation_is_compared():
    before = [{"role": "system", "content": "Be short."}]

    async def both():
        gateway = Semantic()
        await gateway.ask(prompt=[*before, {"role": "user", "content": ASKED}])
        return (await gateway.ask(prompt=[*before, {"role": "user", "content": ALIKE}]))[1]

    assert run(both()) == "semantic"


def test_another_engine_has_other_answers():
    async def both():
        gateway = Semantic()
        await gateway.ask()
        gateway.engine = "e2"
        return (await gateway.ask(ALIKE))[1]

    assert run(both()) == "miss"


def test_a_poisoned_vector_of_another_tenant_never_answers():
    """It lies in the very namespace, right at the question."""

    async def poisoned():
        gateway = Semantic()
        probe = gateway.semantic.probe(asked_for(prompt=[{"role": "user", "content": ALIKE}]), "chat", "main", "e1")
        deltas = (Delta("evil", "stop"),)
        gateway.cache.store.put(Entry("k", "other", "chat", ALIKE, frozenset(), deltas, 60))
        vector = (await embed([ALIKE]))[0]
        for number, tenant in enumerate(("other", probe.tenant)):  # and one that points at the other's answer
            item = Item(f"{probe.namespace}:2", f"k{number or ''}", vector, to_payload(ALIKE), 60, tenant=tenant)
            await gateway.vectors.add(item)
            await gateway.vectors.add(replace(item, key="k", tenant=tenant))
            assert await gateway.semantic.find(replace(probe)) is None

    run(poisoned())


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "cancelled"])
def test_the_question_of_an_answer_that_is_not_kept_is_not_kept(finish_reason):
    gateway = Semantic(main=words("a", finish_reason=finish_reason))
    assert run(gateway.then(ALIKE)) == ["miss"]
    assert run(gateway.vectors.count()) == 0


@pytest.mark.parametrize("what", ["key", {"prefix": "How do"}, {"model": "chat"}, {"tag": "x"}, {}])
def test_what_is_forgotten_answers_nothing_in_other_words(what):
    async def forgotten():
        gateway = Semantic()
        await gateway.ask(cache_tags=frozenset({"x"}))
        num_forgotten = await gateway.cache.drop(**(what if what != "key" else {"key": gateway.key}))
        return num_forgotten, await gateway.vectors.count(), (await gateway.ask(ALIKE))[1]

    assert run(forgotten()) == (1, 0, "miss")


def test_what_does_not_match_stays():
    async def kept():
        gateway = Semantic()
        await gateway.ask(cache_tags=frozenset({"x"}))
        for what in ({"key": "k"}, {"prefix": "What"}, {"model": "other"}, {"tag": "y"}, {"tenant": "other"}):
            assert await gateway.cache.drop(**what) == 0
        return (await gateway.ask(ALIKE))[1]

    assert run(kept()) == "semantic"


def test_a_question_whose_answer_has_left_is_a_miss_and_forgotten():
    async def left():
        gateway = Semantic()
        await gateway.ask()
        gateway.cache.store.drop()
        return (await gateway.ask(ALIKE))[1], await gateway.vectors.count()

    assert run(left()) == ("miss", 1)  # the one of ALIKE, which was asked of the engine


async def hang(texts):
    """For ever."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("broken", [fail, hang])
def test_embeddings_that_fail_or_are_slow_are_a_miss_and_are_left_alone_for_a_moment(broken):
    gateway = Semantic(embed=broken, timeout_s=0.01)

    async def thrice():
        first = await gateway.ask()
        second = await gateway.ask(ALIKE)
        gateway.now = 1.5
        return first, second, await gateway.ask(ALIKE, cache="no-cache"), (await gateway.ask())[1]

    first, second, _, again = run(thrice())
    assert first == ("ab", "miss", "could not look")
    assert second == ("ab", "miss", "resting after a failure")
    assert again == "exact"


def test_vectors_that_fail_are_a_miss():
    class Broken(MemoryVectors):
        async def nearest(self, namespace, vector, k):
            raise UnavailableError("away")

        async def add(self, item):
            raise UnavailableError("away")

    gateway = Semantic(vectors=Broken(1))
    assert run(gateway.then(ASKED, ALIKE)) == ["exact", "miss"]


def test_identical_questions_at_once_are_one_look_and_one_generation():
    looked = []

    async def slowly(texts):
        looked.append(texts)
        await asyncio.sleep(0)
        return await embed(texts)

    gateway = Semantic(embed=slowly)

    async def many():
        fresh = await asyncio.gather(*[gateway.ask() for _ in range(5)])
        alike = await asyncio.gather(*[gateway.ask(ALIKE) for _ in range(5)])
        return fresh, alike

    fresh, alike = run(many())
    assert sorted(how for _, how, _ in fresh) == ["miss", *["shared"] * 4]
    assert sorted(how for _, how, _ in alike) == ["semantic", *["shared"] * 4]
    assert {text for text, _, _ in (*fresh, *alike)} == {"ab"}
    assert (gateway.num_asked, len(looked)) == (1, 2)


def test_a_client_that_leaves_while_it_is_looked_leaves_nobody_waiting():
    async def leaving():
        waits = asyncio.Event()

        async def slowly(texts):
            await waits.wait()
            return await embed(texts)

        gateway = Semantic(embed=slowly)
        first = asyncio.create_task(gateway.ask())
        await asyncio.sleep(0)
        second = asyncio.create_task(gateway.ask())
        await asyncio.sleep(0)
        first.cancel()
        waits.set()
        return (await second)[:2]

    assert run(leaving()) == ("ab", "miss")


def test_half_a_surrogate_pair_in_a_question_is_no_error():
    seen = []

    async def strictly(texts):
        seen.extend(text.encode() for text in texts)
        return await embed(texts)

    assert run(Semantic(embed=strictly).then("\ud800 password")) == ["miss"]
    assert seen[-1] == b"? password"


def test_a_payload_comes_back_as_it_was_and_single_tokens_are_not_shared():
    deltas = (Delta("a\0\ud800", batch_index=0, reasoning="r"), Delta("", "stop", 4, 0, report={"template": "t"}))
    assert read_payload(to_payload("q", deltas)) == ("q", deltas)
    with pytest.raises(ValueError, match="single tokens"):
        to_payload("q", (Delta("a", "stop", log_probs=(0.5,)),))
    for broken in ("", "[]", "{}", json.dumps({"question": "q", "deltas": [{"colour": 1}]})):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            read_payload(broken)


EMBEDS = {"e": {"deployments": {"d": 1}, "operation": "embeddings"}, "chat": {"deployments": {"d": 1}}}


@pytest.mark.parametrize(
    ("cache", "told"),
    [
        ({"enabled": False, "semantic": {"enabled": True, "model": "e"}}, "enabled = true"),
        ({"enabled": True, "semantic": {"enabled": True, "model": "chat"}}, "'chat' is no model with operation"),
        ({"enabled": True, "semantic": {"enabled": True, "model": "e", "store": "postgres"}}, "postgresql URL"),
        ({"enabled": True, "semantic": {"treshold": 0.9}}, "threshold"),
        ({"enabled": True, "semantic": {"threshold": 1.5}}, "threshold"),
    ],
)
def test_a_file_that_cannot_work_is_refused(cache, told):
    values = {"cache": cache, "deployments": {"d": {"url": "d:8001"}}, "models": EMBEDS}
    with pytest.raises(SettingsError, match=told):
        parse_config(values, environ={})
