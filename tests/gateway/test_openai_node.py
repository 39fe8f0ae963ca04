"""OpenAI's API driven by OpenAI's own client for Node; `npm install --prefix tests/gateway/node` makes it run."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def seen(gateway):
    """What `drive.mjs` saw."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules" / "openai").exists():
        pytest.skip("no Node client: npm install --prefix tests/gateway/node")
    ran = subprocess.run(
        [node, "drive.mjs", gateway.url], cwd=HERE, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def test_a_whole_answer_and_a_stream_say_the_same(seen):
    assert seen["whole"] == seen["streamed"]
    assert seen["usage"] == seen["streamedUsage"]
    assert "Paris" in seen["whole"]
    assert seen["requestId"]


def test_tools_and_schemas_are_kept(seen):
    assert seen["called"] == ["show_city", ["city"]]
    assert seen["guided"] == ["city"]


def test_several_prompts_and_the_list_of_models_arrive(seen):
    assert seen["prompts"] == ["a", "b"]
    assert seen["models"] == ["smollm2", "simulated"]


def test_errors_are_the_client_s_own_classes(seen):
    assert seen["errors"] == [
        ["NotFoundError", 404, "model_not_found", "model"],
        ["BadRequestError", 400, "invalid_value", "temperature"],
        ["BadRequestError", 400, "unsupported_parameter", "logit_bias"],
    ]


def test_a_stream_may_be_left(seen):
    assert seen["left"]
