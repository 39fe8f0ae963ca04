"""A real tritonserver with the profile `cpp`, and a fake in the C++ backend's place: the ensemble works around it.

It proves the profile and the models beside it; nothing of TensorRT-LLM.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.server.wire import http_infer, outputs, prompts, request, stream_infer
from trident.contract import ENGINE
from trident.repository import format_config, read_config
from trident.repository_cpp import CONFIG
from trident.server.launch import prepare
from trident.server.ports import free_ports
from trident.server.repository import default_repository
from trident.server.running import Server
from trident.settings import Backend
from trident_client import Client

FAKE = Path(__file__).parents[1] / "doubles" / "cpp_backend.py"
SENTENCE = "The honey bees of Tokyo fly, 1, 2, 3."
EMOJI = "🐝"  # several ids of SmolLM2


# Starts the first rank as a child of its own and leaves the others out: they would have no GPU to hold.
MPIRUN = """#!/bin/bash
while [ "$1" != "-n" ]; do shift; done
shift 2
rank=()
for argument in "$@"; do [ "$argument" = ":" ] && break; rank+=("$argument"); done
"${rank[@]}" &
trap "kill $!" TERM
wait $!; wait $!
"""


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "under mpirun"])
def server(deployment, tmp_path_factory, request):
    """The committed repository and its profile; only who runs the engine model is another."""
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "mpirun").write_text(MPIRUN)
    (folder / "mpirun").chmod(0o755)
    repository = shutil.copytree(default_repository(), folder / "repository")
    path = repository / ENGINE.name / CONFIG
    config = read_config(path)
    config.backend = "python"
    path.write_text(format_config(config))
    shutil.copy(FAKE, repository / ENGINE.name / "1" / "model.py")
    launch = prepare(
        deployment.model_copy(update={"repository": repository, "probe_interval_s": 3600.0, **free_ports()})
    )
    settings = launch.settings.model_copy(update={"backend": Backend.CPP})
    launch = dataclasses.replace(launch, settings=settings, world_size=request.param)
    running = Server(launch, lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture
def client(server):
    with Client(server.grpc_url) as client:
        yield client


def text_of(answers) -> str:
    return "".join(outputs(answer)["text_output"][0] for answer in answers if answer.outputs)


def test_an_answer_is_whole(client):
    assert client.generate(SENTENCE, max_tokens=100).text == SENTENCE


def test_a_stream_of_one_id_each_keeps_every_space(client):
    with client.stream(SENTENCE, max_tokens=100) as stream:
        texts = [delta.text for delta in stream]
    assert "".join(texts) == SENTENCE
    assert len(texts) > 5


def test_a_character_that_the_backend_cuts_leaves_one_mark(client):
    with client.stream(EMOJI, max_tokens=100) as stream:
        assert "".join(delta.text for delta in stream) == "\ufffd"
    assert client.generate(EMOJI, max_tokens=100).text == EMOJI


def test_the_prompt_comes_back_where_upstream_s_default_says_so(server):
    (answer,) = stream_infer(server.grpc_url, prompts(SENTENCE, max_tokens=("INT32", [100])))
    assert outputs(answer)["text_output"] == [SENTENCE + SENTENCE]


def test_rows_of_a_batch_are_told_apart(server):
    rows = ["one", "two three", "four"]
    more = {"exclude_input_in_output": ("BOOL", [True] * 3), "max_tokens": ("INT32", [50] * 3)}
    answers = [outputs(answer) for answer in stream_infer(server.grpc_url, prompts(*rows, **more))]
    assert {answer["batch_index"][0]: answer["text_output"][0] for answer in answers} == dict(enumerate(rows))


def test_chat_messages_are_rendered_and_end_at_the_chat_s_own_eos(client):
    """The fake says the rendered prompt again, whose first turn ends with that id."""
    answer = client.generate([{"role": "user", "content": "Hello bees"}], max_tokens=400)
    assert answer.text.startswith("system\n")
    assert "Hello bees" not in answer.text


def test_there_is_no_finish_reason_and_nobody_invents_one(server):
    (answer,) = stream_infer(server.grpc_url, prompts("one", max_tokens=("INT32", [50])))
    assert set(outputs(answer)) == {"text_output", "batch_index", "sequence_index"}


@pytest.mark.parametrize("name", ["tool_parser", "timeout_ms", "priority", "cache_salt"])
def test_what_only_trident_s_engine_model_can_do_is_refused_by_name(server, name):
    value = ("BYTES", [b"hermes"]) if name in {"tool_parser", "cache_salt"} else ("INT32", [5])
    (answer,) = stream_infer(server.grpc_url, prompts("one", **{name: value}))
    assert name in answer


def test_a_request_is_stopped_with_the_inputs_that_the_backend_requires(server, client):
    client.cancel("nobody")
    ids = np.zeros((1, 1), np.int32)
    message = request(
        "tensorrt_llm",
        request_id="nobody",
        input_ids=("INT32", ids.shape, ids.tobytes()),
        input_lengths=("INT32", [1]),
        request_output_len=("INT32", [1]),
        stop=("BOOL", [True]),
    )
    assert stream_infer(server.grpc_url, message) == []  # an empty end, and no error


def test_the_models_beside_the_engine_are_watched(server):
    assert {"preprocessing", "postprocessing"} <= server.model_process_ids().keys()


def test_http_s_generate_stream_is_served(server):
    answers = http_infer(
        server.http_url, "generate_stream", text_input="a b c", max_tokens=20, stream=True, exclude_input_in_output=True
    )
    assert "".join(answer["text_output"][0] for answer in answers) == "a b c"
