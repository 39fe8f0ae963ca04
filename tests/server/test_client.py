"""The client against a real server with a simulated engine: all that it can ask, over {gRPC, HTTP} x {sync, async}."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from tests.unit.client.conftest import AsyncFace, SyncFace
from trident.contract import ENSEMBLE, MODELS
from trident.errors import DeadlineExceededError, InvalidRequestError
from trident_client import AsyncClient, Client, Health
from trident_client.interface import TRIDENT

ALL = 10**6
LONG = {"max_tokens": 4000, "end_id": -1}


@pytest.fixture(scope="module")
def server(simulated):
    """The simulated engine's answers cost little."""
    return simulated


@pytest.fixture(params=["grpc", "http"])
def protocol(request):
    return request.param


@pytest.fixture
def url(server, protocol):
    return server.grpc_url if protocol == "grpc" else server.http_url


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def client(request, server, url, protocol):
    return request.param(url, protocol, metrics_url=server.metrics_url)


def test_the_server_describes_the_model_as_the_contract_does(client):
    interface = client.interface()
    assert (interface.inputs, interface.outputs) == (TRIDENT.inputs, TRIDENT.outputs)
    assert (interface.is_batched, interface.is_decoupled, interface.engine) == (True, True, "tensorrt_llm")


def test_a_stream_and_a_whole_answer_say_the_same(client):
    deltas, _ = client.take(ALL, "One, two,", max_tokens=20, end_id=-1)
    whole = client.generate("One, two,", max_tokens=20, end_id=-1)
    assert "".join(delta.text for delta in deltas) == whole.text
    assert [delta.finish_reason for delta in deltas][-1] == whole.finish_reason == "length"
    assert deltas[-1].num_output_tokens == whole.num_output_tokens == 20


def test_a_chat_is_answered(client):
    completion = client.chat("How are you?", max_tokens=5, end_id=-1)
    assert (completion.finish_reason, completion.num_output_tokens) == ("length", 5)
    assert completion.text


def test_several_sequences_come_apart(client):
    deltas, _ = client.take(ALL, "Hi", max_tokens=6, end_id=-1, num_return_sequences=3)
    whole = client.generate("Hi", max_tokens=6, end_id=-1, num_return_sequences=3)
    for index, sequence in enumerate((whole, *whole.others)):
        assert sequence.num_output_tokens == 6
        assert "".join(delta.text for delta in deltas if delta.sequence_index == index) == sequence.text


def test_perf_metrics_tell_when_the_engine_did_what(client):
    perf_metrics = client.generate("Hi", max_tokens=5, end_id=-1, return_perf_metrics=True).perf_metrics
    assert (
        0 < perf_metrics.arrival_time_ns <= perf_metrics.first_scheduled_time_ns
        <= perf_metrics.first_token_time_ns <= perf_metrics.last_token_time_ns
    )  # fmt: skip


def test_a_batch_is_answered_whole_with_its_failures(client, url, protocol):
    prompts = [f"prompt {number}" if number % 5 else "" for number in range(20)]
    with Client(url, protocol) as batcher:
        results = list(batcher.batch(prompts, max_tokens=3, end_id=-1, max_in_flight=8))
    assert sorted(result.index for result in results) == list(range(20))
    assert {result.index for result in results if isinstance(result.error, InvalidRequestError)} == {0, 5, 10, 15}
    assert all(result.completion.num_output_tokens == 3 for result in results if result.completion)


def test_health_models_and_metrics(client, url):
    assert client.health() == (Health(url, is_live=True, is_ready=True),)
    assert {model.name for model in client.models()} == {model.name for model in MODELS}
    before = client.metrics().total("nv_inference_request_success", model=ENSEMBLE.name)
    client.generate("Hi", max_tokens=1)
    assert client.metrics().total("nv_inference_request_success", model=ENSEMBLE.name) > before


def test_a_deadline_ends_it_here_and_there(client):
    with pytest.raises(DeadlineExceededError):
        client.take(ALL, "Hi", request_id="late", timeout_s=0.5, **LONG)
    assert client.generate("Hi", max_tokens=1, request_id="late").num_output_tokens == 1


@pytest.mark.parametrize("num_streams", [128, pytest.param(512, marks=pytest.mark.soak)])
def test_many_streams_at_once_lose_nothing(server, protocol, url, num_streams):
    """Each answer is whole: every token is there, and the text is the one that the same prompt gets alone."""

    async def one(client, number):
        async with client.stream(f"prompt {number % 8}", max_tokens=8, end_id=-1) as stream:
            deltas = [delta async for delta in stream]
        return number % 8, "".join(delta.text for delta in deltas), deltas[-1].num_output_tokens, stream.num_retries

    async def ask():
        async with AsyncClient(url, protocol) as client:
            alone = {number: await one(client, number) for number in range(8)}
            together = await asyncio.gather(*[one(client, number) for number in range(num_streams)])
        return alone, together

    alone, together = asyncio.run(ask())
    assert len(together) == num_streams
    assert all(answer == alone[answer[0]] for answer in together)
    assert {answer[2] for answer in together} == {8}


def test_the_benchmark_measures_every_way_over_the_same_answers(server):
    command = ["bench", "client", "--streams", "2", "--max-tokens", "30", "--repeats", "1", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "trident", *command],
        env={**os.environ, "TRIDENT_ENGINES": str(server.settings.engines)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["cpu_us_per_response"].keys() == {
        "tritonclient_aio", "trident_async", "tritonclient", "trident_sync", "trident_async_http",
    }  # fmt: skip
    assert all(value > 0 for value in found["cpu_us_per_response"].values())
    assert {"overhead_async_us", "overhead_sync_us"} <= found.keys()
    assert 2 <= found["responses"] <= 60
