"""The model `embedding` on a real server, beside a simulated engine: there when asked for, and right in any company."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from trident.errors import InvalidRequestError, ManifestError, NotFoundError
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_client import AsyncClient, Client

EMBEDDING = "all-minilm-l6-v2"
GOLDEN = json.loads((Path(__file__).parents[1] / "unit" / "embedding" / "golden.json").read_text())["texts"]
TEXTS = [golden["text"] for golden in GOLDEN]
VECTORS = np.stack([np.frombuffer(base64.b64decode(golden["vector"]), "<f4") for golden in GOLDEN])


@pytest.fixture(params=["grpc", "http"])
def client(embedding_server, request):
    url = embedding_server.grpc_url if request.param == "grpc" else embedding_server.http_url
    with Client(url, request.param) as client:
        yield client


def are_same(found, expected) -> bool:
    return bool(np.all((found * expected).sum(axis=-1) > 0.99999))


def test_texts_come_back_as_pytorch_s_vectors_and_counts(client):
    """More texts than one request carries: none at all, odd characters and one too long among them."""
    found = client.embed(TEXTS * 2)
    assert are_same(found.vectors, np.concatenate([VECTORS, VECTORS]))
    assert found.num_tokens == tuple(golden["num_tokens"] for golden in GOLDEN) * 2


def test_one_text_is_one_row(client):
    assert client.embed(TEXTS[1]).vectors.shape == (1, 384)


def test_the_ensemble_beside_it_answers_as_ever(embedding_server):
    with Client(embedding_server.grpc_url) as client:
        assert "embedding" in {model.name for model in client.models()}
        assert client.generate("Hello", max_tokens=4).text


def test_requests_at_once_get_what_each_would_get_alone(embedding_server):
    """Triton puts them together; whose text is beside whose changes nothing."""

    async def ask():
        async with AsyncClient(embedding_server.grpc_url) as client:
            return await asyncio.gather(*[client.embed(TEXTS[number % len(TEXTS)]) for number in range(90)])

    for number, found in enumerate(asyncio.run(ask())):
        assert are_same(found.vectors[0], VECTORS[number % len(TEXTS)])
    with Client(embedding_server.grpc_url) as client:
        statistics = next(model for model in client.models() if model.name == "embedding")
    assert statistics.num_executions < statistics.num_inferences


def test_what_is_no_utf_8_is_refused_and_the_others_are_answered(embedding_server):
    def ask(text: bytes):
        with tritonclient.grpc.InferenceServerClient(embedding_server.grpc_url) as triton:
            array = np.array([[text]], dtype=object)
            tensor = tritonclient.grpc.InferInput("text", array.shape, np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            return triton.infer("embedding", [tensor]).as_numpy("embedding")

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, text) for text in (b"river", b"\xff\xfe", b"river", b"a\xc3", b"river")]
    good = [asked[number].result() for number in (0, 2, 4)]
    assert are_same(good[0], np.concatenate(good[1:]))
    for number in (1, 3):
        with pytest.raises(InferenceServerException, match="text is not UTF-8") as caught:
            asked[number].result()
        assert "/" not in str(caught.value.message())


def test_more_texts_than_one_request_may_carry_are_refused_by_triton(embedding_server):
    body = {"inputs": [{"name": "text", "shape": [9, 1], "datatype": "BYTES", "data": ["x"] * 9}]}
    answer = httpx.post(f"http://{embedding_server.http_url}/v2/models/embedding/infer", json=body)
    assert answer.status_code == 400
    assert "batch" in answer.json()["error"]


def test_generate_takes_one_text(embedding_server):
    answer = httpx.post(f"http://{embedding_server.http_url}/v2/models/embedding/generate", json={"text": TEXTS[1]})
    assert are_same(np.array(answer.json()["embedding"]), VECTORS[1])


@pytest.mark.parametrize("texts", [[], [1], ["a", None], ["lone \ud800"]])
def test_what_is_no_text_is_refused_before_it_is_sent(client, texts):
    with pytest.raises(InvalidRequestError):
        client.embed(texts)


def test_a_model_that_is_not_there_is_not_found(client):
    with pytest.raises(NotFoundError):
        client.embed("river", model="embeddings")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"embedding": "all-minilm"}, "no engine 'all-minilm'.*trident build all-minilm"),
        ({"embedding": "replay-smollm2"}, "replay-smollm2 is of kind replay and makes no embeddings; name one of kind"),
        ({"engine": EMBEDDING}, "makes embeddings and no text; serve it beside another engine: trident serve --emb"),
    ],
)
def test_an_engine_in_the_wrong_place_is_one_line_before_anything_starts(embedding_settings, changes, problem):
    with (
        pytest.raises(ManifestError, match=problem),
        running_server(embedding_settings.model_copy(update={**changes, **free_ports()})),
    ):
        pass
