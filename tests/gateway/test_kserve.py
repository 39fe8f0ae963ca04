"""KServe v2 through the gateway, with the clients that people have: they work as against Triton, unmodified."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import time

import grpc
import httpx
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner

from tests.gateway.running_gateway import running_gateway
from tests.server.wire import outputs, prompts, stream_infer
from trident.cli import keys
from trident.errors import InvalidRequestError, NotFoundError, TridentError, UnavailableError
from trident_client import AsyncClient, Client, Connection, Retry
from trident_client.protobuf_format import is_final

MODEL = "simulated"
TEXT = "This answer is simulated by Trident's"  # of the first tokens of whatever is asked
NUM_TOKENS = 8
LONG = {"max_tokens": 4000, "end_id": -1}  # 20 seconds


@pytest.fixture(params=["grpc", "http"])
def client(gateway, request):
    """Our own client, which knows nothing of a gateway."""
    url = gateway.grpc_url if request.param == "grpc" else gateway.url
    with Client(url, request.param, model=MODEL) as client:
        yield client


def wait_for_active(server, number: int) -> None:
    """Until the engine's metrics, which are published once in a while, say so; long before `LONG` is over."""
    deadline = time.monotonic() + 5
    with Client(server.grpc_url, metrics_url=f"http://{server.metrics_url}/metrics") as client:
        while client.metrics().total("nv_trt_llm_request_metrics", request_type="active") != number:
            assert time.monotonic() < deadline, f"there are not {number} active requests"
            time.sleep(0.02)


def test_our_own_client_is_answered(client):
    """Whole and streamed, chat and plain, with counts."""
    whole = client.generate("One two", max_tokens=NUM_TOKENS)
    assert (whole.text, whole.finish_reason, whole.num_output_tokens) == (TEXT, "length", NUM_TOKENS)
    with client.stream("One two", max_tokens=NUM_TOKENS) as stream:
        deltas = list(stream)
    assert len(deltas) > 1
    assert "".join(delta.text for delta in deltas) == TEXT
    assert (deltas[-1].finish_reason, deltas[-1].num_output_tokens) == ("length", NUM_TOKENS)
    assert client.chat("Hello", max_tokens=NUM_TOKENS).text == TEXT
    several = client.generate("One two", max_tokens=NUM_TOKENS, num_return_sequences=2)
    assert [each.text for each in (several, *several.others)] == [TEXT, TEXT]
    assert client.is_ready()


def test_our_own_client_hears_of_errors(client, gateway):
    """As the leaves that they are."""
    with pytest.raises(InvalidRequestError, match="temperature"):
        client.generate("One", temperature=-1.0)
    for url, protocol in ((gateway.grpc_url, "grpc"), (gateway.url, "http")):
        with Client(url, protocol, model="nobody") as other, pytest.raises(NotFoundError):
            other.generate("One")


def test_a_real_model_answers_as_without_the_gateway(gateway, server):
    """The embedded one, greedy."""
    prompt, sampling = "Monday, Tuesday, Wednesday,", {"max_tokens": 16, "return_log_probs": True}
    with Client(server.grpc_url) as direct, Client(gateway.grpc_url, model="smollm2") as through:
        expected = direct.generate(prompt, request_id="r", **sampling)
        assert through.generate(prompt, request_id="r", **sampling) == expected


def test_a_client_that_leaves_its_stream_frees_the_slot(gateway, simulated):
    """At once, and not when the answer is over."""

    async def leave() -> None:
        async with AsyncClient(gateway.grpc_url, model=MODEL) as client, client.stream("One two", **LONG) as stream:
            await stream.__anext__()
            await asyncio.to_thread(wait_for_active, simulated, 1)

    asyncio.run(leave())
    wait_for_active(simulated, 0)


def test_a_unary_client_that_breaks_off_frees_the_slot(gateway, simulated):
    """Over HTTP and gRPC: the gateway streams upstream whatever was asked of it."""
    body = {"text_input": "One two", **LONG}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v2/models/{MODEL}/generate", json=body, timeout=1)
    wait_for_active(simulated, 0)
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(prompts("One two", max_tokens=("INT32", [4000])), timeout=1)
    wait_for_active(simulated, 0)


def test_a_request_can_be_cancelled_by_its_id(gateway, simulated):
    """Of the same tenant, from another connection; the stream ends with what it has."""

    async def cancel() -> str:
        first, second = AsyncClient(gateway.grpc_url, model=MODEL), AsyncClient(gateway.grpc_url, model=MODEL)
        async with first, second, first.stream("One two", request_id="mine", **LONG) as stream:
            await stream.__anext__()
            await second.cancel("nobody-s")
            await stream.__anext__()
            await second.cancel("mine")
            reasons = [delta.finish_reason async for delta in stream]
        return reasons[-1]

    assert asyncio.run(cancel()) == "cancelled"
    wait_for_active(simulated, 0)


@pytest.fixture(scope="module")
def strict(simulated, tmp_path_factory):
    """A gateway that asks for keys."""
    values = {
        "auth": {"required": True},
        "deployments": {"replay": {"url": simulated.grpc_url}},
        "models": {MODEL: {"deployments": {"replay": 1}}, "another": {"deployments": {"replay": 1}}},
    }
    with running_gateway(tmp_path_factory.mktemp("strict"), values) as running:
        yield running


def key_of(gateway, tenant: str, *options: str) -> Connection:
    """A new key of a tenant."""
    made = CliRunner().invoke(
        keys.app, ["create", "--config", str(gateway.config_path), "--tenant", tenant, "--json", *options]
    )
    return Connection(api_key=json.loads(made.stdout)["key"])


def test_a_tenant_cannot_cancel_anothers_request(strict):
    """Neither by the client's id nor by the one that Triton knows; its own it can, with another of its keys."""
    mine, also_mine, theirs = (key_of(strict, tenant) for tenant in ("ours", "ours", "theirs"))

    async def cancel() -> str:
        first, second, other = (
            AsyncClient(strict.grpc_url, model=MODEL, connection=connection) for connection in (mine, also_mine, theirs)
        )
        async with first, second, other, first.stream("One two", request_id="mine", **LONG) as stream:
            await stream.__anext__()
            await other.cancel("mine")
            for line in strict.log_path.read_text().splitlines():
                for name in re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", line):
                    await other.cancel(name)
            for _ in range(20):
                assert not (await stream.__anext__()).finish_reason
            await second.cancel("mine")
            reasons = [delta.finish_reason async for delta in stream]
        return reasons[-1]

    assert asyncio.run(cancel()) == "cancelled"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_keys_and_their_limits_hold_as_for_openais_endpoints(strict, protocol):
    """No key, a key for something else, a key for another model, a key whose requests are spent."""
    url = strict.grpc_url if protocol == "grpc" else strict.url

    def ask(connection: Connection) -> str:
        with Client(url, protocol, model=MODEL, connection=connection, retry=Retry(0)) as client:
            return client.generate("One", max_tokens=NUM_TOKENS).text

    for connection, said in (
        (Connection(), "no API key"),
        (Connection(api_key="tri_wrong"), "API key"),
        (key_of(strict, "a", "--endpoints", "chat"), "may not use 'kserve'"),
        (key_of(strict, "a", "--models", "another"), "may not use the model|does not exist"),
    ):
        with pytest.raises(TridentError, match=said):
            ask(connection)
    once = key_of(strict, "b", "--requests-per-minute", "1")
    assert ask(once) == TEXT
    with pytest.raises(TridentError, match="requests"):
        ask(once)


def test_nvidias_decoupled_client_is_answered(gateway):
    """tritonclient.grpc, streamed, until the empty final response or the last with data says so."""
    arrived: queue.SimpleQueue = queue.SimpleQueue()
    inputs = []
    for name, dtype, value in (
        ("text_input", "BYTES", np.array([[b"One"]], object)),
        ("max_tokens", "INT32", np.array([[NUM_TOKENS]], np.int32)),
        ("stream", "BOOL", np.array([[True]])),
    ):
        inputs.append(triton_grpc.InferInput(name, [1, 1], dtype))
        inputs[-1].set_data_from_numpy(value)
    texts, is_final = [], False
    with triton_grpc.InferenceServerClient(gateway.grpc_url) as client:
        assert client.is_server_live()
        assert client.is_model_ready(MODEL)
        assert client.get_model_metadata(MODEL).name == MODEL
        client.start_stream(lambda result, error: arrived.put((result, error)))
        client.async_stream_infer(MODEL, inputs, request_id="r", enable_empty_final_response=True)
        while not is_final:
            result, error = arrived.get(timeout=30)
            assert error is None
            assert result.get_response().id == "r"
            texts.append(result.as_numpy("text_output")[0].decode())
            is_final = result.get_response().parameters["triton_final_response"].bool_param
        client.stop_stream()
    assert "".join(texts) == TEXT
    assert len(texts) > 1


@pytest.mark.parametrize("binary", [True, False])
def test_nvidias_http_client_is_answered(gateway, binary):
    """tritonclient.http's `infer`, binary and JSON."""
    inputs = [
        triton_http.InferInput(name, [1, 1], kind) for name, kind in (("text_input", "BYTES"), ("max_tokens", "INT32"))
    ]
    inputs[0].set_data_from_numpy(np.array([["Öne"]], object), binary_data=binary)
    inputs[1].set_data_from_numpy(np.array([[NUM_TOKENS]], np.int32), binary_data=binary)
    wanted = [triton_http.InferRequestedOutput("text_output", binary_data=binary)]
    with triton_http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        assert client.is_server_ready()
        for outputs_ in (wanted, None):
            result = client.infer(MODEL, inputs, outputs=outputs_)
            text = result.as_numpy("text_output")[0]
            assert (text.decode() if isinstance(text, bytes) else text) == "Öne" + TEXT
        with pytest.raises(InferenceServerException, match="there is no /v2"):
            client.get_model_config(MODEL)


def test_plain_http_clients_are_answered(gateway):
    """`requests` with generate and generate_stream, and the plain form."""
    url = f"{gateway.url}/v2/models/{MODEL}"
    body = {"text_input": "One", "max_tokens": NUM_TOKENS}
    assert requests.post(f"{url}/generate", json=body, timeout=30).json()["text_output"] == "One" + TEXT
    with requests.post(f"{url}/generate_stream", json={**body, "stream": True}, stream=True, timeout=30) as response:
        events = [
            json.loads(line.removeprefix(b"data: ")) for line in response.iter_lines() if line.startswith(b"data")
        ]
    assert "".join(event["text_output"] for event in events) == TEXT
    plain = {"model": MODEL, "prompt": "One", "max_tokens": NUM_TOKENS}
    assert requests.post(f"{gateway.url}/generate", json=plain, timeout=30).json() == {"text": ["One" + TEXT]}


@pytest.mark.parametrize("tensors", [{}, {"stream": ("BOOL", [True])}])
def test_raw_responses_are_those_of_triton(gateway, simulated, tensors):
    """The text, the flags and everything that stands at the end, on the wire."""
    message = prompts("One", **tensors, return_num_output_tokens=("BOOL", [True]))
    direct = stream_infer(simulated.grpc_url, message)
    message.model_name = MODEL
    through = stream_infer(gateway.grpc_url, message)
    texts = ["".join(outputs(answer)["text_output"][0] for answer in answers) for answers in (direct, through)]
    assert texts[0] == texts[1]
    assert [is_final(answer) for answer in through] == [False] * (len(through) - 1) + [True]
    for name in ("num_output_tokens", "finish_reason", "batch_index", "sequence_index"):
        assert outputs(through[-1])[name] == outputs(direct[-1])[name]
    assert {each.name: list(each.shape) for each in direct[-1].outputs}.items() <= {
        each.name: list(each.shape) for each in through[-1].outputs
    }.items()


def test_what_triton_keeps_for_operators_is_not_there(gateway):
    """Shared memory, repository, configuration, statistics, trace and logging."""
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for name in (
            "RepositoryModelUnload",
            "SystemSharedMemoryRegister",
            "ModelConfig",
            "ModelStatistics",
            "LogSettings",
        ):
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, name)(getattr(service_pb2, f"{name}Request")(), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    for path in (
        "repository/models/ensemble/unload",
        "systemsharedmemory/region/x/register",
        "logging",
        "trace/setting",
    ):
        response = httpx.post(f"{gateway.url}/v2/{path}", json={})
        assert (response.status_code, list(response.json())) == (404, ["error"])


def test_a_deployment_that_is_gone_is_told_in_both_protocols(tmp_path):
    """Without a word of where it was."""
    values = {"deployments": {"gone": {"url": "127.0.0.1:9"}}, "models": {MODEL: {"deployments": {"gone": 1}}}}
    with running_gateway(tmp_path, values) as alone:
        for protocol, url in (("grpc", alone.grpc_url), ("http", alone.url)):
            with Client(url, protocol, model=MODEL, retry=Retry(0)) as client:
                assert not client.is_ready()
                with pytest.raises(UnavailableError) as caught:
                    client.generate("One", max_tokens=4)
                assert "127.0.0.1:9" not in caught.value.message
