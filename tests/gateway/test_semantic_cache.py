"""The semantic cache before real engines: another wording has the same answer, the opposite has not."""

from __future__ import annotations

import httpx
import pytest

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway

MODEL = "all-minilm-l6-v2"
ASKED = "What is the capital of France? Answer in one word."
ALIKE = "Tell me the capital of France. Answer in one word."
OPPOSITE = "What is not the capital of France? Answer in one word."


@pytest.fixture(scope="module")
def cached(server, embedding_server, tmp_path_factory):
    """A gateway before the embedded model, whose answers end, and a second server's embeddings."""
    values = {
        "cache": {
            "enabled": True,
            "semantic": {"enabled": True, "model": MODEL, "verify_fraction": 1.0, "timeout_s": 5.0},
        },
        "deployments": {"main": deployment_of(server), "vectors": deployment_of(embedding_server)},
        "models": {
            "smollm2": {"deployments": {"main": 1}},
            "picky": {"deployments": {"main": 1}, "semantic_threshold": 1.0},
            MODEL: {"deployments": {"vectors": 1}, "operation": "embeddings"},
        },
    }
    with running_gateway(tmp_path_factory.mktemp("cache"), values) as running:
        yield running


def ask(cached, question, model="smollm2"):
    """The text, how the cache answered, and why."""
    messages = [{"role": "user", "content": question}]
    body = {"model": model, "messages": messages, "max_tokens": 64, "temperature": 0}
    answer = httpx.post(f"{cached.url}/v1/chat/completions", json=body, timeout=60, trust_env=False)
    text = answer.json()["choices"][0]["message"]["content"]
    return text, answer.headers["x-trident-cache"], answer.headers.get("x-trident-cache-reason", "")


def until(cached, question, how, **arguments):
    """The engine is known to the gateway a second after the start; a question is kept in the background."""
    for _ in range(50):
        answer = ask(cached, question, **arguments)
        if answer[1] == how:
            return answer
    raise AssertionError(f"never '{how}': {answer}")


def figures(cached):
    return httpx.get(f"{cached.url}/admin/cache", trust_env=False).json()


def test_another_wording_has_the_same_answer_and_the_opposite_has_not(cached):
    text, _, _ = until(cached, ASKED, "exact")
    again, how, reason = ask(cached, ALIKE)
    assert (again, how) == (text, "semantic")
    assert reason == "cosine 0.95, gate: agrees"
    assert ask(cached, OPPOSITE)[1:] == ("miss", "cosine 0.93, gate: negation")
    assert figures(cached)["semantic"] >= 1


def test_a_route_with_a_higher_threshold_asks_again(cached):
    until(cached, ASKED, "exact", model="picky")
    assert ask(cached, ALIKE, model="picky")[1] != "semantic"


def test_hits_are_verified_at_the_engine_and_counted(cached):
    """The engine's own answer to the other wording may well be another; it is counted either way."""
    until(cached, ASKED, "exact")
    until(cached, ALIKE, "semantic")
    for _ in range(100):
        found = figures(cached)["semantic_cache"]
        if found["verified"]:
            break
        ask(cached, ASKED)
    assert found["verified"] >= 1
    page = httpx.get(f"{cached.url}/metrics", trust_env=False).text
    assert "trident_gateway_semantic_verifications_total" in page
    assert 'trident_gateway_cache_hits_total{how="semantic",model="smollm2"}' in page


def test_what_is_forgotten_is_asked_again_in_any_words(cached):
    until(cached, ASKED, "exact")
    until(cached, ALIKE, "semantic")
    forgotten = httpx.delete(f"{cached.url}/admin/cache", params={"everything": True}, trust_env=False).json()
    assert forgotten["forgotten"] >= 1
    assert figures(cached)["semantic_cache"]["vectors"] == 0
    assert ask(cached, ALIKE)[1] == "miss"
