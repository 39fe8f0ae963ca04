"""A real tritonserver over the TensorRT-LLM adapter, with the double in TensorRT-LLM's place.

It proves what is ours between Triton and the LLM API; nothing of TensorRT-LLM.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time

import numpy as np
import pytest

from tests.server.chaos import chaos, gauge, wait_until_empty
from tests.server.tensorrt_llm_repository import LIMITS, write_engine, write_repository
from tests.server.wire import outputs, prompts, request, stream_infer
from tests.unit.engines.tensorrt_llm_engines import DOUBLES
from trident.errors import EngineError, InvalidRequestError, TridentError
from trident.manifest import EngineKind, find_engine
from trident.server.metrics_page import read_metrics
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_client import Client

ENDLESS = {"max_tokens": 4000, "end_id": -1}
REFUSED_ID, DEADLY_ID = 3001, 3002  # of the double: in a prompt, they make the request or the executor fail
BACK_S = 60.0


@pytest.fixture(scope="module", params=[EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def server(deployment, kind, tmp_path_factory):
    """A server of its own for each kind; the shell looks for the package and a GPU before it starts one."""
    folder = tmp_path_factory.mktemp("tensorrt_llm")
    built = find_engine(deployment.engines, deployment.engine)
    changes = {
        "engine": str(write_engine(built, folder / "engine", kind)),
        "repository": write_repository(folder / "repository"),
        "probe_interval_s": 3600.0,
        **free_ports(),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOUBLES)
        patch.setenv("PATH", str(DOUBLES / "bin"), prepend=os.pathsep)
        with running_server(deployment.model_copy(update=changes)) as running:
            _until_published(running)
            yield running


def _until_published(server) -> None:
    """Metrics are published twice a second, and of blocks only once an iteration has told of them."""
    with Client(server.grpc_url) as client:
        client.generate("1,", max_tokens=2)
    give_up = time.monotonic() + BACK_S
    while "nv_trt_llm_kv_cache_block_metrics" not in read_metrics(server.settings):
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.fixture
def client(server):
    with Client(server.grpc_url) as client:
        yield client


def ask_ids(url, *token_ids, max_tokens=4):
    """One request of ids to the engine model, without the ensemble."""
    ids = np.array([token_ids], np.int32)
    message = request(
        "tensorrt_llm",
        input_ids=("INT32", ids.shape, ids.tobytes()),
        input_lengths=("INT32", [len(token_ids)]),
        request_output_len=("INT32", [max_tokens]),
    )
    return stream_infer(url, message)


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = client.generate("1, 2, 3,", max_tokens=40, end_id=-1)
    with client.stream("1, 2, 3,", max_tokens=40, end_id=-1) as stream:
        texts = [delta.text for delta in stream]
    assert (whole.finish_reason, whole.num_output_tokens) == ("length", 40)
    assert "".join(texts) == whole.text
    assert len([text for text in texts if text]) > 1


def test_a_stop_word_ends_the_answer_and_frees_the_place(server, client):
    free = client.generate("1, 2, 3,", max_tokens=40, end_id=-1)
    word = free.text[20:26]
    stopped = client.generate("1, 2, 3,", max_tokens=4000, end_id=-1, stop_words=[word])
    assert (stopped.finish_reason, stopped.text) == ("stop", free.text[: free.text.index(word)])
    wait_until_empty(server.metrics_url)


def test_a_stream_that_is_left_frees_its_blocks(server, client):
    with client.stream("1, 2, 3,", **ENDLESS) as stream:
        next(iter(stream))
        used = [gauge(server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "used")]
        while not used[-1]:
            next(iter(stream))
            used.append(gauge(server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "used"))
    wait_until_empty(server.metrics_url)
    assert gauge(server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "used") == 0


def test_log_probs_are_given_for_every_token(client):
    answer = client.generate("1, 2, 3,", max_tokens=9, end_id=-1, return_log_probs=True)
    assert len(answer.log_probs) == 9
    assert all(value < 0 for value in answer.log_probs)


def test_a_live_id_is_refused_and_the_first_goes_on(server):
    first = prompts("1, 2,", stream=("BOOL", [True]), max_tokens=("INT32", [400]), end_id=("INT32", [-1]))
    again = prompts("1, 2,")
    first.id = again.id = "twice"
    answers = stream_infer(server.grpc_url, first, again)
    errors = [answer for answer in answers if isinstance(answer, str)]
    assert len(errors) == 1
    assert "a live request has the id 'twice'" in errors[0]
    assert outputs([answer for answer in answers if not isinstance(answer, str)][-1])["finish_reason"] == ["length"]


def test_the_metrics_have_upstream_s_names_and_this_kind(server, client, kind):
    with client.stream("1, 2, 3,", max_tokens=2500, end_id=-1) as stream:
        scheduled = [
            gauge(server.metrics_url, "nv_trt_llm_request_metrics", "scheduled")
            for number, _ in enumerate(stream)
            if number % 100 == 0
        ]
    assert max(scheduled) == 1
    page = read_metrics(server.settings)
    assert f'kind="{kind.value}"' in page
    assert 'simulated="false"' in page
    blocks = {
        name: gauge(server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", name) for name in ("max", "tokens_per")
    }
    assert blocks == {"max": LIMITS["kv_cache_tokens"] / 32, "tokens_per": 32}
    assert gauge(server.metrics_url, "nv_trt_llm_request_metrics", "max") == LIMITS["max_num_seqs"]
    assert gauge(server.metrics_url, "nv_trt_llm_general_metrics", "iteration_counter") > 2000


def test_what_the_kind_cannot_do_is_refused_by_name(server, kind):
    name, asked = {
        EngineKind.TENSORRT_LLM: (
            "top_logprobs=2",
            {"return_log_probs": ("BOOL", [True]), "top_logprobs": ("INT32", [2])},
        ),
        EngineKind.TENSORRT_LLM_PYTORCH: ("presence_penalty=0.5", {"presence_penalty": ("FP32", [0.5])}),
    }[kind]
    (answer,) = stream_infer(server.grpc_url, prompts("1, 2, 3,", **asked))
    assert f"{name} is not supported by this engine" in answer


def test_a_request_that_the_engine_refuses_ends_alone_with_one_line(server, client):
    with client.stream("1, 2, 3,", **ENDLESS) as stream:
        next(iter(stream))
        (answer,) = ask_ids(server.grpc_url, 5, REFUSED_ID)
        assert "the engine refused the request; see the server's log" in answer
        assert "/src" not in answer
        assert next(iter(stream)).text is not None


def test_after_chaos_nothing_is_held_and_the_undisturbed_were_answered_rightly(server):
    outcomes = asyncio.run(chaos(server.grpc_url, 96, seed=96))
    assert sum(outcomes.values()) == 96
    wait_until_empty(server.metrics_url)


def test_an_engine_that_fails_ends_every_stream_with_an_error_and_is_started_again(server):
    """The last one of its server: it comes back with nothing in its cache."""
    before = server.model_process_ids()["tensorrt_llm"]
    begun, ends = threading.Event(), []

    def follow():
        with Client(server.grpc_url) as client:
            try:
                for _ in client.stream("1, 2, 3,", **ENDLESS):
                    begun.set()
            except TridentError as exc:
                ends.append(exc)

    stream = threading.Thread(target=follow)
    stream.start()
    assert begun.wait(10)
    ask_ids(server.grpc_url, 5, DEADLY_ID)
    stream.join(10)
    assert isinstance(ends[0], TridentError)
    assert not isinstance(ends[0], InvalidRequestError)
    if isinstance(ends[0], EngineError):  # else the connection broke before the answer was out
        assert "the engine ended unexpectedly" in ends[0].message

    give_up = time.monotonic() + BACK_S
    while True:
        try:
            with Client(server.grpc_url) as client:
                assert client.generate("1, 2,", max_tokens=2, end_id=-1).num_output_tokens == 2
            break
        except TridentError:
            assert time.monotonic() < give_up
            time.sleep(0.5)
    assert server.model_process_ids()["tensorrt_llm"] != before
