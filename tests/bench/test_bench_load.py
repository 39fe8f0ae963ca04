"""`trident bench serve` and `perf-analyzer` on a real server with a simulated engine, whose times are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = ("--warmup-s", "0.5", "--duration-s", "2", "--max-tokens", "16")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trident", "bench", *arguments],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_serve_measures_a_running_server_over_both_protocols(simulated, tmp_path, protocol):
    url = simulated.grpc_url if protocol == "grpc" else simulated.http_url
    path = tmp_path / "report.json"
    ended = bench(
        "serve", "--url", url, "--protocol", protocol, "--concurrency", "1", "--concurrency", "2", *SHORT,
        "--repeats", "2", "--json", "--output", str(path), "--output", str(tmp_path / "report.csv"),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report == json.loads(path.read_text(encoding="utf-8"))
    assert [point["load"] for point in report["points"]] == ["1 stream", "2 streams"]
    for point in report["points"]:
        assert point["median"]["failed"] == 0
        assert point["median"]["output_tokens"] == 16
        assert point["median"]["input_tokens"] > 60
        assert 0 < point["median"]["ttft_p50_ms"] < point["median"]["latency_p50_ms"]
    assert bench("compare", str(path), str(path)).returncode == 0


def test_an_open_loop_on_a_server_of_its_own(simulated):
    engine = str(simulated.settings.engines / "replay-smollm2" / "current")
    ended = bench("serve", "--engine", engine, "--rate", "10", *SHORT, "--repeats", "1", "--json")
    assert ended.returncode == 0, ended.stderr
    (point,) = json.loads(ended.stdout)["points"]
    assert point["pressure"] == {"rate_per_s": 10.0, "burstiness": 1.0}
    assert point["median"]["requests_per_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "127.0.0.1:1", "--concurrency", "1"), "is not ready"),
        (("--url", "127.0.0.1:1", "--engine", "x"), "--engine x is for a server of its own"),
        (("--rate", "1", "--concurrency", "1"), "not both"),
        (("--prompt-tokens", "many"), "'many' is no distribution"),
        (("--output", "report.pdf"), "must end in .json, .csv or .html"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_measured(arguments, said):
    ended = bench("serve", *arguments)
    assert ended.returncode in {1, 2}
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.soak  # a measurement, which wants a machine of its own
def test_perf_analyzer_and_our_own_client_agree_within_five_percent(simulated):
    """Same server, same tensors, in turn; medians of three rounds. The engine's own times are most of each latency."""
    ended = bench(
        "perf-analyzer", "--url", simulated.grpc_url, "--concurrency", "4", "--max-tokens", "32",
        "--warmup-s", "1", "--duration-s", "9", "--repeats", "3", "--json",
    )  # fmt: skip
    if "cannot download" in ended.stderr or "does not run here" in ended.stderr:
        pytest.skip(ended.stderr.strip().splitlines()[-1])
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    for name in ("requests_per_s", "latency_mean_ms", "latency_p50_ms"):
        assert found["ratio"][name] == pytest.approx(1.0, abs=0.05), found
