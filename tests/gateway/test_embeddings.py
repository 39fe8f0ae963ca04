"""`/v1/embeddings` by OpenAI's own client and by hand, before a real Triton with the embedding model."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway

MODEL = "all-minilm-l6-v2"
GOLDEN = json.loads((Path(__file__).parents[1] / "unit" / "embedding" / "golden.json").read_text())["texts"]
TEXTS = [golden["text"] for golden in GOLDEN if golden["text"]]
VECTORS = np.stack([np.frombuffer(base64.b64decode(golden["vector"]), "<f4") for golden in GOLDEN if golden["text"]])
NUM_TOKENS = sum(golden["num_tokens"] for golden in GOLDEN if golden["text"])


@pytest.fixture(scope="module")
def url(embedding_server, tmp_path_factory):
    """Of a gateway with the models "simulated" and MODEL, a deployment of the latter out of order among its own."""
    values = {
        "deployments": {"main": deployment_of(embedding_server), "away": {"url": "127.0.0.1:9"}},
        "models": {
            "simulated": {"deployments": {"main": 1}},
            MODEL: {"deployments": {"away": 1}, "fallbacks": ["main"], "operation": "embeddings", "aliases": ["e"]},
        },
        "rules": [{"name": "all to the simulated one", "use_model": "simulated"}],
    }
    with running_gateway(tmp_path_factory.mktemp("gateway"), values) as running:
        yield f"{running.url}/v1"


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("encoding", ["float", "base64", openai.omit])
def test_the_sdk_gets_pytorch_s_vectors_in_every_encoding(client, encoding):
    """A deployment that is away is passed over; a rule for text does not carry embeddings off."""
    answer = client.embeddings.create(model="e", input=TEXTS, encoding_format=encoding)
    found = [item.embedding for item in answer.data]
    if encoding == "base64":
        found = [np.frombuffer(base64.b64decode(each), "<f4") for each in found]
    assert np.all((np.array(found) * VECTORS).sum(axis=1) > 0.99999)
    assert [item.index for item in answer.data] == list(range(len(TEXTS)))
    assert (answer.model, answer.object, answer.data[0].object) == ("e", "list", "embedding")
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (NUM_TOKENS, NUM_TOKENS)


def test_one_text_needs_no_list_and_its_own_dimensions_may_be_named(client):
    answer = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=384, user="somebody")
    assert np.array(answer.data[0].embedding) @ VECTORS[0] > 0.99999


@pytest.mark.parametrize("num_texts", [300, pytest.param(2048, marks=pytest.mark.soak)])
def test_up_to_as_many_texts_as_openai_takes_come_back_in_their_order(client, num_texts):
    words = ["river", "boat", "town"]
    alone = np.array([item.embedding for item in client.embeddings.create(model=MODEL, input=words).data])
    answer = client.embeddings.create(model=MODEL, input=[words[number % 3] for number in range(num_texts)])
    found = np.array([item.embedding for item in answer.data])
    assert np.all((found * alone[[number % 3 for number in range(num_texts)]]).sum(axis=1) > 0.99999)


def test_the_answer_says_where_it_came_from(client):
    headers = client.embeddings.with_raw_response.create(model=MODEL, input="river").headers
    assert headers["x-trident-deployment"] == "main"
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    ("changes", "status", "param", "text"),
    [
        ({"input": ""}, 400, "input", "is empty"),
        ({"input": []}, 400, "input", "must be a text or a list of texts"),
        ({"input": ["a", ""]}, 400, "input[1]", "is empty"),
        ({"input": ["a", None]}, 400, "input[1]", "must be a text"),
        ({"input": {"a": 1}}, 400, "input", "must be a text or a list of texts"),
        ({"input": ["a"] * 2049}, 400, "input", "2049 texts; at most 2048"),
        ({"input": [1, 2, 3]}, 400, "input", "token ids"),
        ({"input": [[1, 2], [3]]}, 400, "input", "check_embedding_ctx_length=False"),
        ({"dimensions": 256}, 400, "dimensions", "have 384 dimensions"),
        ({"dimensions": 0}, 400, "dimensions", "greater than or equal to 1"),
        ({"encoding_format": "int8"}, 400, "encoding_format", "float"),
        ({"inputs": "a"}, 400, "inputs", "did you mean 'input'"),
        ({"model": "simulated"}, 400, "model", "makes no embeddings"),
        ({"model": "all-minilm"}, 404, "model", "did you mean 'all-minilm-l6-v2'"),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name(url, changes, status, param, text):
    answer = httpx.post(f"{url}/embeddings", json={"model": MODEL, "input": "river", **changes}, trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert text in error["message"]


def test_a_model_for_embeddings_does_not_chat(client):
    with pytest.raises(openai.BadRequestError, match="makes embeddings only, at /v1/embeddings"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])


def test_clients_at_once_get_their_own_vectors(url):
    async def ask():
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            return await asyncio.gather(
                *[client.embeddings.create(model=MODEL, input=TEXTS[number % len(TEXTS)]) for number in range(60)]
            )

    for number, answer in enumerate(asyncio.run(ask())):
        assert np.array(answer.data[0].embedding) @ VECTORS[number % len(TEXTS)] > 0.99999
