"""The verbs that ask a running server about itself."""

from __future__ import annotations

import subprocess
import sys

TRIDENT = [sys.executable, "-m", "trident"]


def rows_of(*arguments):
    result = subprocess.run([*TRIDENT, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return dict(line.split("\t", 1) for line in result.stdout.splitlines())


def test_metrics_have_a_value_for_every_figure_that_openvino_knows(server):
    subprocess.run([*TRIDENT, "generate", "Hi", "--url", server.grpc_url, "--max-tokens", "4"], check=True)
    rows = rows_of("metrics", "--url", server.metrics_url)
    assert rows["engine"].startswith("smollm2-135m (openvino")
    assert set(rows) >= {
        "sequences running",
        "sequences waiting",
        "places in the batch",
        "KV cache blocks used",
        "KV cache blocks",
        "prompt tokens",
        "generated tokens",
        "sequences ended",
        "requests refused",
        "time in the queue",
        "time to first token",
        "inter-token latency",
        "whole request",
    }


def test_models_are_those_of_the_ensemble(server):
    assert set(rows_of("models", "--url", server.grpc_url)) == {
        "ensemble",
        "postprocessing",
        "preprocessing",
        "tensorrt_llm",
    }
    over_http = rows_of("models", "--url", server.http_url, "--protocol", "http")
    assert set(over_http) == set(rows_of("models", "--url", server.grpc_url))
