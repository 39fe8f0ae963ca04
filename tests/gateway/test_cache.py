"""The cache before a real engine: the same stream again, forgotten when asked to, and when another engine serves."""

from __future__ import annotations

import httpx
import pytest
from openai import OpenAI

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway

QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


@pytest.fixture(scope="module")
def cached(server, tmp_path_factory):
    values = {
        "cache": {"enabled": True},
        "deployments": {"main": deployment_of(server)},
        "models": {"smollm2": {"deployments": {"main": 1}}},
    }
    with running_gateway(tmp_path_factory.mktemp("cache"), values) as running:
        yield running


def ask(cached, *, stream=False, headers=None, question=QUESTION, max_tokens=64):
    """The text, how the cache answered, and the key."""
    with OpenAI(base_url=f"{cached.url}/v1", api_key="none", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="smollm2", messages=question, stream=stream, max_tokens=max_tokens, temperature=0,
            extra_headers=headers or {},
        )  # fmt: skip
        parsed = raw.parse()
        if stream:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in parsed if chunk.choices)
        else:
            text = parsed.choices[0].message.content
    return text, raw.headers["x-trident-cache"], raw.headers.get("x-trident-cache-key")


def until_it_is_kept(cached, **arguments):
    """The engine is known to the gateway from its first reading of the metrics on, a second after the start."""
    for _ in range(50):
        text, how, key = ask(cached, **arguments)
        if how == "exact":
            return text, key
    raise AssertionError("nothing was kept")


def forget(cached, **what):
    return httpx.delete(f"{cached.url}/admin/cache", params=what, trust_env=False).json()["forgotten"]


def test_an_answer_is_given_again_whole_and_as_a_stream(cached):
    text, _ = until_it_is_kept(cached)
    assert "Paris" in text
    assert ask(cached, stream=True)[:2] == (text, "exact")
    assert ask(cached, headers={"cache-control": "no-store"})[:2] == (text, "bypass")
    assert httpx.get(f"{cached.url}/admin/cache", trust_env=False).json()["answers"] >= 1


def test_what_is_forgotten_is_asked_again(cached):
    _, key = until_it_is_kept(cached, headers={"x-trident-cache-tags": "capitals"})
    assert forget(cached, key=key) == 1
    assert ask(cached, headers={"x-trident-cache-tags": "capitals"})[1] == "miss"
    assert forget(cached, tag="no such") == 0
    assert forget(cached, tag="capitals") == 1
    assert ask(cached)[1] == "miss"
    assert forget(cached, prefix="What is the capital") >= 1
    assert ask(cached)[1] == "miss"
    assert forget(cached, model="smollm2") >= 1


def test_an_answer_that_was_cut_off_is_not_kept(cached):
    until_it_is_kept(cached)
    assert ask(cached, max_tokens=2)[1] == "miss"
    assert ask(cached, max_tokens=2)[1] == "miss"


def test_a_cache_that_is_off_says_so(gateway):
    answer = httpx.get(f"{gateway.url}/admin/cache", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "cache_off")
