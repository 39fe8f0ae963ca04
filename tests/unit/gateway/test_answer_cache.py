"""An answer is given again to who must have the same one, and to nobody else."""

import asyncio
from dataclasses import fields, replace

import numpy as np
import pytest

from tests.unit.gateway.loop import run, turns
from tests.unit.gateway.scripted_upstream import TWO, CountingLimiter, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import EngineError
from trident.gateway.cache.answers import AnswerCache, is_worth_keeping
from trident.gateway.cache.key import cache_key
from trident.gateway.cache.store import Entry, Store
from trident.gateway.config import CacheSettings
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident.gateway.router import Router
from trident_client.completion import Beam, Delta
from trident_client.sampling import Sampling

ONE = {"chat": {"deployments": {"main": 1}, "price": {"output_per_million": 1e6}}}


class Cached:
    """A gateway of scripted deployments with a cache."""

    def __init__(self, models=ONE, engine="e1", settings=None, **scripts):
        self.upstreams = ScriptedUpstreams(**scripts)
        self.router = Router(config_of(models))
        self.engine = engine
        self.limiter = CountingLimiter()
        self.outcomes = []
        self.cache = AnswerCache(settings or CacheSettings(enabled=True), lambda _: self.engine)

    def began(self, asked):
        pass

    def ended(self, outcome):
        self.outcomes.append(outcome)

    def exchange(self, asked):
        return Exchange(
            asked, self.router, self.limiter, self.upstreams, [self], timeout_s=5, background=set(), cache=self.cache
        )

    async def ask(self, asked=None):
        async with self.exchange(asked or asked_for()) as exchange:
            return [delta.text async for delta in exchange], exchange.headers()

    @property
    def num_asked(self):
        return len(self.upstreams.asked)


def test_the_same_request_has_the_same_stream_without_an_engine_and_costs_nothing():
    gateway = Cached(main=words("a", "b"))

    async def twice():
        return await gateway.ask(), await gateway.ask()

    (first, before), (second, after) = run(twice())
    assert first == second == ["a", "b"]
    assert (before["x-trident-cache"], after["x-trident-cache"]) == ("miss", "exact")
    assert before["x-trident-cache-key"] == after["x-trident-cache-key"]
    assert gateway.num_asked == 1
    assert [outcome.cache for outcome in gateway.outcomes] == ["", "exact"]
    assert gateway.outcomes[0].cost > gateway.outcomes[1].cost == 0
    assert gateway.limiter.settled[1] == (0, 0)
    assert gateway.outcomes[1].num_output_tokens == 2


CHANGES = {
    "tenant": {"identity": Identity("other", "key")},
    "prompt": {"prompt": "hello!"},
    "roles": {"prompt": [{"role": "user", "content": "hello"}]},
    "operation": {"operation": "text_completion"},
    "max_tokens": {"sampling": Sampling(max_tokens=17)},
    "tools": {"sampling": Sampling(max_tokens=16, tools=[{"type": "function", "function": {"name": "f"}}])},
    "lora_name": {"sampling": Sampling(max_tokens=16, lora_name="x")},
    "guide": {"sampling": Sampling(max_tokens=16, guided_decoding_guide={"type": "object"})},
    "stop_words": {"sampling": Sampling(max_tokens=16, stop_words=["x"])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_changes_an_answer_is_another_key(change):
    keys = {cache_key(asked, "chat", "main", "e1") for asked in (asked_for(), asked_for(**change))}
    assert len(keys) == 2


def test_every_sampling_parameter_is_in_the_key_but_those_of_when():
    plain = asked_for()
    same = set()
    for field in fields(Sampling):
        changed = replace(plain, sampling=replace(plain.sampling, **{field.name: "another"}))
        if cache_key(changed, "chat", "main", "e1") == cache_key(plain, "chat", "main", "e1"):
            same.add(field.name)
    assert same == {"timeout_ms", "priority"}


def test_another_engine_model_or_deployment_is_another_key():
    asked = asked_for()
    keys = {cache_key(asked, *parts) for parts in [("m", "d", "e"), ("n", "d", "e"), ("m", "f", "e"), ("m", "d", "g")]}
    assert len(keys) == 4


def test_a_request_of_another_user_or_key_of_the_tenant_is_the_same():
    one, other = asked_for(user="a"), asked_for(user="b", identity=Identity("default", "k2"))
    assert cache_key(one, "chat", "main", "e") == cache_key(other, "chat", "main", "e")


@pytest.mark.parametrize(
    ("asked", "engine", "header"),
    [
        (asked_for(sampling=Sampling(max_tokens=16, temperature=0.7)), "e1", "bypass"),
        (asked_for(cache="no-store"), "e1", "bypass"),
        (asked_for(), "", "bypass"),
        (asked_for(cache="no-cache"), "e1", "miss"),
    ],
    ids=["random", "no-store", "unknown engine", "no-cache"],
)
def test_what_may_not_come_from_the_cache_is_asked_each_time(asked, engine, header):
    gateway = Cached(engine=engine, main=words("a"))

    async def twice():
        return await gateway.ask(asked), await gateway.ask(asked)

    assert [headers["x-trident-cache"] for _, headers in run(twice())] == [header, header]
    assert gateway.num_asked == 2


def test_a_drawn_answer_is_cached_for_who_asks_for_that():
    gateway = Cached(main=words("a"))
    asked = asked_for(sampling=Sampling(max_tokens=16, temperature=0.7), cache="sampled")

    async def twice():
        return await gateway.ask(asked), await gateway.ask(asked)

    assert run(twice())[1][1]["x-trident-cache"] == "exact"


def test_an_engine_that_changed_is_asked_again():
    gateway = Cached(main=words("a"))

    async def twice():
        await gateway.ask()
        gateway.engine = "e2"
        return await gateway.ask()

    assert run(twice())[1]["x-trident-cache"] == "miss"


@pytest.mark.parametrize(
    "deltas",
    [
        words("a", finish_reason="length"),
        words("a", finish_reason="content_filter"),
        words("a", finish_reason="cancelled"),
        [Delta("a"), Delta("", "stop", tool_calls=({"id": "1"},))],
        [Delta("a"), Delta("", "stop", report={"checks": [{"check": "pii", "action": "redact"}]})],
        [Delta("a", sequence_index=0), Delta("b", "stop", sequence_index=1)],
        [Delta("a")],
    ],
    ids=["length", "blocked", "cancelled", "tool call", "redacted", "one of two", "no end"],
)
def test_an_answer_that_is_cut_off_blocked_or_changed_is_not_kept(deltas):
    assert not is_worth_keeping(deltas)
    gateway = Cached(main=deltas)

    async def twice():
        return await gateway.ask(), await gateway.ask()

    run(twice())
    assert gateway.num_asked == 2


def test_identical_requests_at_once_are_one_generation():
    gateway = Cached(main=[50, *words("a", "b")])

    async def many():
        return await asyncio.gather(*[gateway.ask() for _ in range(20)])

    answers = run(many())
    assert [texts for texts, _ in answers] == [["a", "b"]] * 20
    assert gateway.num_asked == 1
    assert sorted(headers["x-trident-cache"] for _, headers in answers) == ["miss"] + ["shared"] * 19


def test_a_failure_is_nobody_else_s():
    """The next who waits is sent on."""
    gateway = Cached(main=[[20, EngineError("broke")], [20, *words("a")]])

    async def many():
        return await asyncio.gather(*[gateway.ask() for _ in range(5)], return_exceptions=True)

    answers = run(many())
    failed = [answer for answer in answers if isinstance(answer, EngineError)]
    assert len(failed) == 1
    assert [answer[0] for answer in answers if answer not in failed] == [["a"]] * 4
    assert gateway.num_asked == 2


def test_a_lead_that_leaves_early_leaves_nobody_waiting():
    gateway = Cached(main=[[30, Delta("a"), "hang"], [*words("b")]])

    async def both():
        first = asyncio.create_task(gateway.ask())
        await asyncio.sleep(0)
        second = asyncio.create_task(gateway.ask())
        await turns(60)
        first.cancel()
        return (await second)[0]

    assert run(both()) == ["b"]


def test_who_leaves_in_the_moment_in_which_it_becomes_the_lead_leaves_nobody_waiting():
    gateway = Cached(main=words("a"))
    find = gateway.cache.find

    async def both():
        first = asyncio.create_task(gateway.ask())

        async def find_and_leave(*what):
            found = await find(*what)
            first.cancel()
            return found

        gateway.cache.find = find_and_leave
        with pytest.raises(asyncio.CancelledError):
            await first
        gateway.cache.find = find
        return (await gateway.ask())[0]

    assert run(both()) == ["a"]


def test_the_answer_of_another_deployment_than_the_key_s_is_not_kept():
    gateway = Cached(models=TWO, main=[EngineError("broke")], spare=words("b"))

    async def twice():
        return await gateway.ask(), await gateway.ask()

    run(twice())
    assert len(gateway.cache.store) == 0


def entry(key, prompt="hello there", text="x", **changes):
    values = {"tenant": "t", "model": "m", "tags": frozenset(), "ttl_s": 10.0, **changes}
    return Entry(key=key, prompt=prompt, deltas=(Delta(text, "stop"),), **values)


def test_the_least_recently_used_leave_when_there_are_too_many_bytes():
    one = entry("a").size_bytes
    store = Store(2 * one)
    store.put(entry("a"))
    store.put(entry("b"))
    assert store.get("a") is not None
    store.put(entry("c"))
    assert (store.get("a") is None, store.get("b") is None, store.get("c") is None) == (False, True, False)
    assert store.num_bytes == 2 * one
    store.put(entry("d", text="x" * 10 * one))
    assert store.get("d") is None


def test_an_answer_is_forgotten_when_its_time_is_over():
    now = [0.0]
    store = Store(1 << 20, clock=lambda: now[0])
    store.put(entry("a"))
    now[0] = 9.9
    assert store.get("a") is not None
    now[0] = 10.1
    assert store.get("a") is None
    assert len(store) == 0


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"key": "a"}, "bc"),
        ({"prefix": "hello"}, "c"),
        ({"model": "n"}, "ac"),
        ({"tag": "x"}, "ab"),
        ({"tenant": "t"}, ""),
    ],
)
def test_answers_are_forgotten_by_key_prefix_model_tag_and_tenant(what, left):
    store = Store(1 << 20)
    store.put(entry("a"))
    store.put(entry("b", model="n"))
    store.put(entry("c", prompt="bye", tags=frozenset({"x"})))
    store.drop(**what)
    assert "".join(key for key in "abc" if store.get(key)) == left


def test_an_answer_with_logits_is_not_kept_and_no_figure_of_a_token_is_free():
    logits = np.zeros((4, 1000), np.float32)
    assert is_worth_keeping([Delta("a", "stop")])
    for name in ("context_logits", "generation_logits"):
        assert not is_worth_keeping([Delta("a", "stop", **{name: logits})])

    def size(**changes):
        return Entry("k", "t", "m", "p", frozenset(), (Delta("a", "stop", **changes),), 60.0).size_bytes

    plain = size()
    assert size(context_logits=logits) - plain >= logits.nbytes
    top = {"top_ids": (tuple(range(20)),) * 50, "top_log_probs": ((0.5,) * 20,) * 50}
    assert size(**top) - plain >= 50 * 20 * 2 * 24
    for changes in ({"log_probs": (0.5,)}, {"token_texts": (b"a",)}, {"report": {"a": 1}}, {"beams": (Beam("a"),)}):
        assert size(**changes) > plain
