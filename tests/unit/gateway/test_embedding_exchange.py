"""Embeddings through the gateway keep every promise of an exchange: limits, failover, counts, outcomes."""

import asyncio

import numpy as np
import pytest

from tests.unit.gateway.loop import run, turns
from tests.unit.gateway.scripted_upstream import Bench, CountingLimiter, asked_for, config_of
from trident.errors import (
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    RateLimitError,
    SettingsError,
    TridentError,
    UnavailableError,
)
from trident.gateway.embedding_exchange import EmbeddingExchange, embeddings_asked
from trident.gateway.identity import ANONYMOUS, Identity
from trident_client import Embeddings

TEXTS = ["river", "a boat on the river"]
FOUND = Embeddings(np.eye(2, 3, dtype=np.float32), (3, 7))
ROUTE = {"deployments": {"main": 1}, "fallbacks": ["spare"], "operation": "embeddings"}
MODELS = {"minilm": {**ROUTE, "price": {"input_per_million": 1e6}}, "chat": {"deployments": {"main": 1}}}


class Embedders:
    """Deployments that answer `embed` by a script: an answer, an error, or "hang"."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getitem__(self, name):
        return Embedder(name, self)


class Embedder:
    def __init__(self, name, embedders):
        self._name = name
        self._embedders = embedders

    async def embed(self, texts, *, request_id, timeout_s):
        self._embedders.asked.append((self._name, tuple(texts)))
        answer = self._embedders.answers[self._name]
        if answer == "hang":
            await asyncio.Event().wait()
        if isinstance(answer, TridentError):
            raise answer
        return answer


def bench_of(limiter=None, rules=(), models=MODELS, **answers):
    return Bench(Embedders(**answers), config_of(models, rules), limiter)


def embed(bench, model="minilm", identity=ANONYMOUS):
    asked = embeddings_asked("id", identity, model, TEXTS)

    async def ask():
        exchange = EmbeddingExchange(
            asked, TEXTS, bench.router, bench.limiter, bench.upstreams, [bench.observer],
            timeout_s=bench.timeout_s, background=bench.background,
        )  # fmt: skip
        async with exchange:
            return await exchange.embeddings()

    return run(ask())


def test_the_vectors_come_from_the_route_s_deployment_and_their_tokens_are_counted_and_paid():
    bench = bench_of(main=FOUND)
    assert embed(bench) is FOUND
    assert bench.upstreams.asked == [("main", tuple(TEXTS))]
    outcome = bench.outcome
    assert (outcome.deployment, outcome.num_input_tokens, outcome.num_output_tokens) == ("main", 10, 0)
    assert outcome.cost == pytest.approx(10)
    assert (outcome.error, outcome.is_cancelled) == (None, False)
    assert bench.limiter.settled == [(10, pytest.approx(10))]


@pytest.mark.parametrize(
    "failure", [UnavailableError("gone"), QueueFullError("full"), EngineError("broke"), NotFoundError("no such model")]
)
def test_what_a_deployment_cannot_answer_another_is_asked(failure):
    bench = bench_of(main=failure, spare=FOUND)
    assert embed(bench) is FOUND
    assert list(bench.outcome.failures) == ["main"]


@pytest.mark.parametrize("refusal", [InvalidRequestError("no"), DeadlineExceededError("late")])
def test_what_is_the_request_s_own_fault_is_asked_nowhere_else(refusal):
    bench = bench_of(main=refusal, spare=FOUND)
    with pytest.raises(type(refusal)):
        embed(bench)
    assert len(bench.upstreams.asked) == 1
    assert bench.outcome.error is refusal


def test_over_its_limits_nothing_is_asked():
    bench = bench_of(CountingLimiter(RateLimitError("too many")), main=FOUND)
    with pytest.raises(RateLimitError):
        embed(bench)
    assert bench.upstreams.asked == []


def test_a_key_that_may_not_ask_the_model_asks_nobody():
    bench = bench_of(main=FOUND)
    with pytest.raises(PermissionDeniedError):
        embed(bench, identity=Identity("default", "key", models=frozenset({"chat"})))
    assert bench.upstreams.asked == []


def test_a_client_that_leaves_frees_the_deployment_and_counts_as_having_left():
    bench = bench_of(main="hang")

    async def leave():
        asked = embeddings_asked("id", ANONYMOUS, "minilm", TEXTS)
        exchange = EmbeddingExchange(
            asked, TEXTS, bench.router, bench.limiter, bench.upstreams, [bench.observer],
            timeout_s=9, background=bench.background,
        )  # fmt: skip
        task = asyncio.create_task(exchange.start())
        await turns()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.settle()

    run(leave())
    assert bench.outcome.is_cancelled
    assert bench.router.states["main"].num_running == 0
    assert bench.limiter.settled == [(0, 0.0)]


def test_a_model_for_text_makes_no_embeddings_and_the_other_way_round():
    bench = bench_of(main=FOUND)
    with pytest.raises(InvalidRequestError, match="the model 'chat' makes no embeddings") as caught:
        embed(bench, "chat")
    assert caught.value.param == "model"

    async def chat():
        async with bench.exchange(asked_for("minilm")):
            pass

    with pytest.raises(InvalidRequestError, match="'minilm' makes embeddings only, at /v1/embeddings"):
        run(chat())
    assert bench.upstreams.asked == []


def test_a_rule_leads_embeddings_to_another_model_for_embeddings_only():
    models = {**MODELS, "other": {"deployments": {"elsewhere": 1}, "operation": "embeddings"}}
    rules = [
        {"name": "text", "use_model": "chat"},
        {"name": "short", "when": {"operation": ["embeddings"], "max_prompt_tokens": 50}, "use_model": "other"},
    ]
    bench = bench_of(rules=rules, models=models, main=FOUND, elsewhere=FOUND)
    embed(bench)
    assert bench.upstreams.asked == [("elsewhere", tuple(TEXTS))]


@pytest.mark.parametrize("extra", [{"shadow": "main"}, {"max_tokens": 5}])
def test_what_a_model_for_embeddings_cannot_have_is_refused_in_the_file(extra):
    with pytest.raises(SettingsError, match="a model for embeddings has neither shadow nor max_tokens"):
        config_of({"minilm": {**ROUTE, **extra}})
