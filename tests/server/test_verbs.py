"""The verbs that start a server of their own, in their smallest form, and the one that starts nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from trident.manifest import find_engine
from trident_client import Client

ROOT = Path(__file__).parents[2]
TRIDENT = [sys.executable, "-m", "trident"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TRIDENT, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def left_over() -> set[str]:
    """What servers that no longer run have left in shared memory; others may run at the same time."""
    there = {path.name for path in Path("/dev/shm").glob("trident_*")}  # noqa: S108 - where Triton puts them
    running = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            running |= set(re.findall(r"shm-region-prefix-name=(trident_[0-9a-f]+)", entry.read_text(errors="replace")))
    return {name for name in there if "_".join(name.split("_")[:2]) not in running}


@pytest.fixture
def nothing_left(server):
    """Whatever servers there are elsewhere, this test leaves nothing of its own, and the session's server as it was."""
    before = left_over()
    yield
    deadline = time.monotonic() + 10  # one that is just being stopped elsewhere
    while left_over() - before:
        assert time.monotonic() < deadline, left_over() - before
        time.sleep(0.1)
    with Client(server.grpc_url) as client:
        assert client.is_ready()


def test_the_demo_asks_three_questions_and_stops_everything(nothing_left):
    result = run("demo", "--max-tokens", "12")
    assert result.returncode == 0, result.stderr
    for title in ("gRPC streaming", "HTTP generate", "HTTP generate_stream"):
        assert f"== {title}: " in result.stdout
    assert "Paris" in result.stdout
    assert result.stdout.count("tokens/s]") == 3


def test_the_overhead_benchmark_measures_both_sides(nothing_left):
    result = run(
        "bench", "overhead", "--json", "--concurrency", "1", "--concurrency", "4", "--max-tokens", "8", "--repeats", "1"
    )
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["ratio_c1"] > 0
    assert answer["ratio_c4"] > 0
    for side in ("raw", "ensemble"):
        assert answer[side]["c4"]["tokens_per_s"] > 0
        assert 0 < answer[side]["c4"]["responses_per_token"] <= 1
        assert answer[side]["c4"]["ttft_p99_ms"] >= answer[side]["c4"]["ttft_p50_ms"] > 0


def test_check_says_what_would_be_served(deployment):
    result = run("check")
    assert (result.returncode, result.stderr) == (0, "")
    assert "keeps the contract" in result.stdout
    assert "smollm2-135m@" in result.stdout


def test_check_names_a_damaged_file_with_both_sums(deployment, tmp_path):
    engine = find_engine(deployment.engines, deployment.engine)
    copy = shutil.copytree(engine, tmp_path / "engine", symlinks=True)
    with (copy / "openvino_model.bin").open("r+b") as weights:
        weights.truncate(1000)
    result = run("check", str(copy))
    assert result.returncode == 2
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
    assert "openvino_model.bin is damaged: its sha256 is" in line


def test_check_names_every_difference_of_a_repository(deployment, tmp_path):
    repository = shutil.copytree(ROOT / "model_repository", tmp_path / "repository")
    config = repository / "ensemble" / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").replace('"text_output"', '"text"'), encoding="utf-8")
    result = run("check", "--repository", str(repository))
    assert result.returncode == 2
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
    assert "output text_output is missing" in line


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["check", "nothing-here"], {}, "no engine 'nothing-here'"),
        (
            ["check"],
            {"TRIDENT_HTP_PORT": "1"},
            "unknown environment variable TRIDENT_HTP_PORT; did you mean 'TRIDENT_HTTP_PORT'?",
        ),
        (["check"], {"TRIDENT_HTTP_PORT": "seventy"}, "TRIDENT_HTTP_PORT (or --http-port): "),
        (["build", "no-such-recipe"], {}, "no-such-recipe"),
    ],
)
def test_the_user_s_mistakes_are_one_line_and_exit_with_2(arguments, environment, complaint):
    result = run(*arguments, **environment)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("trident: ")
    assert complaint in line
