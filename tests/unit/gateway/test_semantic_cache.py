"""An answer goes to the same question in other words, where the threshold and the gate agree; and to nobody else."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.gateway.scripted_upstream import CountingLimiter, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import EngineError, SettingsError, UnavailableError
from trident.gateway.cache.answers import AnswerCache
from trident.gateway.cache.memory_vectors import MemoryVectors
from trident.gateway.cache.payload import read_payload, to_payload
from trident.gateway.cache.semantic import SemanticCache
from trident.gateway.cache.store import Entry, Store
from trident.gateway.cache.vectors import Item
from trident.gateway.cache.verification import Verification
from trident.gateway.config import CacheSettings, SemanticSettings, parse_config
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident.gateway.router import Router
from trident_client.completion import Delta
from trident_client.sampling import Sampling

ROUTE = {"chat": {"deployments": {"main": 1, "spare": 0}}}
ASKED = "How do I reset my password?"
ALIKE = "What is the way to reset my password?"
# The angle of each text; texts that are not here point away from everything.
ANGLES = {
    ASKED: 0.0, ALIKE: 0.2, "How do I never reset my password?": 0.1, "How do I reset my password on 2 phones?": 0.1,
    "How can I reset my password?": 0.9, "yes": 0.0, "yes, it is": 0.3, "no": 1.5,
}  # fmt: skip


async def embed(texts):
    angles = [ANGLES.get(text, 3.0) for text in texts]
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)


class Semantic:
    """A gateway of scripted deployments with both caches. The clock stands still."""

    def __init__(self, embed=embed, vectors=None, threshold=None, chance=1.0, **scripts):
        self.upstreams = ScriptedUpstreams(**(scripts or {"main": words("a", "b")}))
        self.router = Router(config_of(ROUTE, main={"breaker": {"consecutive_failures": 1}}))
        self.engine = "e1"
        self.outcomes = []
        self.now = 0.0
        self.key = ""  # of the last answer
        store = Store(1 << 20)
        self.vectors = vectors or MemoryVectors(100)
        self.semantic = SemanticCache(
            SemanticSettings(enabled=True, model="e", timeout_s=0.05),
            self.vectors, embed, store, lambda _: threshold, lambda: self.now,
        )  # fmt: skip
        self.verification = Verification(
            0.5, embed, self.router, self.upstreams, timeout_s=5, chance=lambda: chance
        )  # fmt: skip
        settings = CacheSettings(enabled=True)
        self.cache = AnswerCache(settings, lambda _: self.engine, store, self.semantic, self.verification)

    def began(self, asked):
        pass

    def ended(self, outcome):
        self.outcomes.append(outcome)

    async def ask(self, question=ASKED, **changes):
        """The text, how the cache answered, and why. What has to be kept is kept afterwards."""
        prompt = changes.pop("prompt", [{"role": "user", "content": question}])
        observers = [self, *self.cache.observers]
        exchange = Exchange(
            asked_for(prompt=prompt, **changes), self.router, CountingLimiter(), self.upstreams, observers,
            timeout_s=5, background=set(), cache=self.cache,
        )  # fmt: skip
        async with exchange:
            text = "".join([delta.text async for delta in exchange])
            headers = exchange.headers()
        self.key = headers.get("x-trident-cache-key")
        await self.semantic.settle()
        return text, headers["x-trident-cache"], headers.get("x-trident-cache-reason", "")

    async def then(self, *questions, **changes):
        """How the cache answers each, after ASKED was answered."""
        await self.ask()
        return [(await self.ask(question, **changes))[1] for question in questions]

    @property
    def num_asked(self):
        return len(self.upstreams.asked)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


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


async def fail(texts):
    raise UnavailableError("away")


async def hang(texts):
    """For ever."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("broken", [fail, hang])
def test_embeddings_that_fail_or_are_slow_are_a_miss_and_are_left_alone_for_a_moment(broken):
    gateway = Semantic(embed=broken)

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


def item(key, vector, namespace="n", ttl_s=60.0):
    return Item(namespace, key, np.array(vector, np.float32), "", ttl_s, tenant="t")


def test_the_nearest_of_a_namespace_are_found_however_many_there_are():
    """As a list and as an index, after deletions too, compared with all cosines."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    async def compared(count):
        vectors = MemoryVectors(1000)
        for number in range(count):
            await vectors.add(item(str(number), rows[number], "ab"[number % 2]))
        for number in range(0, count, 10):
            assert await vectors.drop(key=str(number)) == [str(number)]
        there = [number for number in range(count) if number % 10 and number % 2 == 0]
        expected = sorted(there, key=lambda number: -float(rows[number] @ rows[0]))[:3]
        found = await vectors.nearest("a", rows[0], 3)
        assert [int(near.key) for near in found] == expected
        assert [near.cosine for near in found] == pytest.approx([rows[n] @ rows[0] for n in expected], abs=2e-3)

    for count in (20, 300):
        run(compared(count))


def test_of_too_many_vectors_those_that_nobody_came_near_leave_first():
    async def left():
        vectors = MemoryVectors(2)
        await vectors.add(item("a", [1, 0]))
        await vectors.add(item("b", [0, 1], "m"))
        await vectors.nearest("n", np.array([1, 0], np.float32), 1)
        await vectors.add(item("c", [0, 1]))
        assert await vectors.nearest("m", np.array([0, 1], np.float32), 1) == []
        return await vectors.count(), [near.key for near in await vectors.nearest("n", np.array([1, 0], "f4"), 5)]

    assert run(left()) == (2, ["a", "c"])


def test_a_vector_is_not_found_when_its_time_is_over_and_replaced_by_one_of_its_key():
    async def ended():
        now = [0.0]
        vectors = MemoryVectors(10, lambda: now[0])
        await vectors.add(item("a", [1, 0], ttl_s=10))
        await vectors.add(item("a", [0, 1], ttl_s=10))
        found = await vectors.nearest("n", np.array([1, 0], np.float32), 5)
        assert [(near.key, near.cosine) for near in found] == [("a", 0.0)]
        now[0] = 10.0
        return await vectors.nearest("n", np.array([1, 0], np.float32), 5), await vectors.count()

    assert run(ended()) == ([], 0)


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


def test_half_a_surrogate_pair_in_a_question_is_no_error():
    seen = []

    async def strictly(texts):
        seen.extend(text.encode() for text in texts)
        return await embed(texts)

    assert run(Semantic(embed=strictly).then("\ud800 password")) == ["miss"]
    assert seen[-1] == b"? password"
