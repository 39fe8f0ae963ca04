"""A batch over several machines, here processes: one of them is killed, and nothing is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trident_client import Client

# module, the job's script, what the processes that may die are called on the command line
SPARK = ("pyspark", "spark_job.py", "CoarseGrainedExecutorBackend")
RAY = ("ray", "ray_job.py", "MapWorker")
SIZES = [1000, pytest.param(10_000, marks=pytest.mark.soak)]
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # everywhere else too: it listens on 127.0.0.1 only
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


@pytest.fixture(scope="session", params=[SPARK, RAY], ids=["spark", "ray"])
def job(request):
    module = request.param[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (pip install 'trident-llm[{request.param[1].split('_')[0]}]')")
    if module == "pyspark" and shutil.which("java") is None:
        pytest.skip("no java, which Spark runs on (Debian: openjdk-17-jre-headless)")
    return request.param


def num_answered(servers):
    """So far, of all servers."""
    total = 0
    for server in servers:
        with Client(server.grpc_url) as client:
            total += next(model.num_inferences for model in client.models() if model.name == "ensemble")
    return total


def descendants(pid, name):
    """Processes below `pid` that have `name` in their command line."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found, new = set(), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    return [each for each in found - {pid} if name in command_line(each)]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", SIZES)
def test_a_killed_worker_loses_nothing(job, servers, number, tmp_path):
    _, script, worker = job
    output = tmp_path / "answers.jsonl"
    urls = [server.grpc_url for server in servers]
    command = [sys.executable, str(Path(__file__).with_name(script)), str(number), str(output), *urls]
    before = num_answered(servers)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while num_answered(servers) - before < number // 4:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            victim = descendants(process.pid, worker)[0]
            os.kill(victim, signal.SIGKILL)
            assert process.wait() == 0, (tmp_path / "log").read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert sorted(row["id"] for row in rows) == list(range(number))
    assert all(row["prompt"] == f"Prompt {row['id']}" for row in rows)
    assert {(row["text"] is not None, row["num_output_tokens"], row["error"]) for row in rows} == {(True, 8, None)}
