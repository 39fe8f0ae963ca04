"""Every example of the client does what it says, run as a program against a real server.

Those of LangChain and LlamaIndex need the extra `examples` (`make examples`); the OpenAI SDK's asks a real gateway.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.conftest import gateway  # noqa: F401 - a fixture
from tests.server.test_chat_tools import tool_server  # noqa: F401 - a fixture

EXAMPLES = Path(__file__).parents[2] / "client" / "examples"
QUESTION = ("The capital of France is", "--url")


def run(name: str, *arguments: str) -> str:
    """What the example prints."""
    path = EXAMPLES / name
    command = [sys.executable, str(path)] if path.suffix == ".py" else [str(path)]
    environ = {**os.environ, "NO_PROXY": "127.0.0.1"}
    ended = subprocess.run(
        [*command, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def needs(module: str) -> None:
    if importlib.util.find_spec(module.partition(".")[0]) is None or importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (pip install 'trident-llm[examples]')")


def test_stream_grpc_prints_the_text_and_what_it_took(server):
    text, ending = run("stream_grpc.py", *QUESTION, server.grpc_url).rsplit("\n", 2)[:2]
    assert "Paris" in text
    assert re.fullmatch(r"\[(stop|length): 5 tokens in, \d+ out\]", ending)


@pytest.mark.parametrize("name", ["http_generate_stream.py", "kserve_tritonclient.py"])
def test_an_example_with_nothing_of_ours_prints_the_same_text(server, name):
    ours = run("stream_grpc.py", *QUESTION, server.grpc_url).rsplit("\n", 2)[0]
    said = run(name, *QUESTION, server.http_url if name.startswith("http") else server.grpc_url)
    assert re.sub(r"\n\[\w+\]\n$", "", said) == ours


def test_curl_shows_an_answer_two_streams_and_the_model(server):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    said = run("curl.sh", "--url", server.http_url)
    assert said.startswith("== ready?\n200\n")
    events = [json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line.startswith("data: ")]
    assert [event["finish_reason"] for event in events if event.get("finish_reason")] == ["length", "stop"]
    model = json.loads(said.splitlines()[-1])
    assert {"text_input", "messages", "max_tokens"} <= {tensor["name"] for tensor in model["inputs"]}


def test_chat_answers_and_has_the_conversation_cached(server):
    first, second = run("chat.py", "What is the capital of France?", "Why?", "--url", server.grpc_url).split("> ")[1:]
    assert "Paris" in first
    assert second.startswith("Why?\n")
    assert " 0 of them cached" not in second


def test_tools_calls_the_function_and_says_what_it_returned(tool_server):  # noqa: F811
    call, *answer = run("tools.py", "weather?", "--url", tool_server.grpc_url).splitlines()
    assert call == "get_weather('Paris')"
    assert "".join(answer)


def test_json_schema_prints_what_the_schema_allows(server):
    person = json.loads(run("json_schema.py", "--url", server.grpc_url))
    assert person.keys() == {"name", "born", "fields"}
    assert 1000 <= person["born"] <= 2100
    assert set(person["fields"]) <= {"physics", "chemistry", "poetry"}


def test_cancel_ends_both_requests(simulated):
    said = run("cancel.py", "--url", simulated.grpc_url).splitlines()
    assert [line.split(": ")[0] for line in said] == ["first words", "left early", "by its id"]
    assert said[1:] == ["left early: cancelled", "by its id: cancelled"]


def test_batch_answers_every_prompt(server):
    answers = dict(line.split(": ", 1) for line in run("batch.py", "--url", server.grpc_url).splitlines())
    assert len(answers) == 8
    assert "Paris" in answers["France"]


def test_fan_out_tells_every_answer(simulated):
    said = run("fan_out.py", "--url", simulated.grpc_url, "--url", simulated.grpc_url)
    for role in ("a physicist", "a poet", "a lawyer", "a child", "a chef", "a historian"):
        assert f"{role}: " in said


def test_langchain_streams_through_a_chain(server):
    needs("langchain_core")
    assert "Paris" in run("langchain_llm.py", "France", "--url", server.grpc_url)


def test_llama_index_completes_through_its_own_integration(server):
    needs("llama_index.llms.nvidia_triton")
    assert "Paris" in run("llama_index_triton.py", *QUESTION, server.grpc_url)


def test_the_openai_sdk_streams_through_the_gateway(gateway):  # noqa: F811
    needs("openai")
    said = run("openai_sdk.py", "What is the capital of France?", "--url", gateway.url, "--model", "smollm2")
    assert "Paris" in said
    assert said.endswith(" out]\n")


@pytest.mark.parametrize(
    "path", sorted(path for path in EXAMPLES.iterdir() if path.is_file()), ids=lambda path: path.name
)
def test_an_example_is_short_and_run_by_a_test_of_this_module(path):
    assert 25 <= len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert f'"{path.name}"' in Path(__file__).read_text(encoding="utf-8")
