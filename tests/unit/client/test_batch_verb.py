"""`trident batch`, `models` and `metrics` as a user runs them: processes, pipes, kill -9."""

import json
import signal
import subprocess
import sys
import time

import pytest

from .call import call
from .scripted_server import Complain, Die, Hang, Say

TRIDENT = [sys.executable, "-c", "from trident.cli import main; main()"]
DONE = [Say("fine", "stop", {"num_output_tokens": 2})]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`trident` in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture
def address(url, protocol):
    return ["--url", url, "--protocol", protocol]


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def prompts_of(server):
    """What was asked, in order."""
    asked = [seen["inputs"]["text_input"] for seen in server.requests if "text_input" in seen["inputs"]]
    return [prompt if isinstance(prompt, str) else prompt[0] for prompt in asked]


def test_prompts_from_stdin_are_answered_in_their_order(server, address, run, tmp_path):
    server.script = DONE
    result = run("batch", "-", "-o", "out.jsonl", *address, "--max-tokens", "9", stdin="one\n\ntwo\nthree\n")
    assert (result.returncode, result.stdout) == (0, "")
    assert "3 answers to out.jsonl" in result.stderr
    answers = lines_of(tmp_path / "out.jsonl")
    assert [(each["line"], each["text"]) for each in answers] == [(1, "fine"), (3, "fine"), (4, "fine")]
    assert sorted(prompts_of(server)) == ["one", "three", "two"]
    assert {str(seen["inputs"]["max_tokens"]) for seen in server.requests if "max_tokens" in seen["inputs"]} <= {
        "9",
        "[9]",
    }


def test_a_job_that_is_killed_goes_on_where_it_was(server, url, protocol, address, run, tmp_path):
    (tmp_path / "in.txt").write_text("".join(f"p{number}\n" for number in range(6)))
    server.scripts = [DONE, DONE, [Hang()]]
    command = [*TRIDENT, "batch", "in.txt", "-o", "out.jsonl", *address, "--in-flight", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while len(prompts_of(server)) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert len(lines_of(tmp_path / "out.jsonl")) == 2
    with (tmp_path / "out.jsonl").open("a") as output:
        output.write('{"id": "batch_req_3_01')  # as if it had been killed while it wrote
    server.script = DONE
    result = run("batch", "in.txt", "-o", "out.jsonl", *address, "--json")
    assert result.returncode == 0
    figures = json.loads(result.stdout)
    assert (figures["answered_before"], figures["answered"], figures["failed"]) == (2, 4, 0)
    assert [each["line"] for each in lines_of(tmp_path / "out.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert prompts_of(server)[:3] == ["p0", "p1", "p2"]
    assert sorted(prompts_of(server)[3:]) == ["p2", "p3", "p4", "p5"]


def test_failures_go_into_their_file_and_into_the_exit_status(server, address, run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n{"prompt": "c"}\n')
    server.scripts = [DONE, [Complain("in ensemble 'ensemble', max_tokens must be in 1..512, got 0")]]
    result = run("batch", "in.jsonl", "-o", "out.jsonl", "--failed", "bad.jsonl", "--in-flight", "1", *address)
    assert result.returncode == 1
    assert "2 failures to bad.jsonl, 1 of them lines that cannot be read" in result.stderr
    assert {each["line"]: each["error"]["message"] for each in lines_of(tmp_path / "bad.jsonl")} == {
        2: "not JSON: Expecting value, column 12",
        3: "max_tokens must be in 1..512, got 0",
    }


def test_without_a_server_nothing_is_lost(run, tmp_path):
    (tmp_path / "in.txt").write_text("a\n")
    result = run("batch", "in.txt", "-o", "out.jsonl", "--url", "127.0.0.1:1", "--max-retries", "0")
    assert result.returncode == 1
    stopped, error = result.stderr.splitlines()
    assert stopped == "stopped: 0 answers are in out.jsonl; the same command goes on from there"
    assert error.startswith("trident: no answer from 127.0.0.1:1 (")
    assert not (tmp_path / "out.failed.jsonl").exists()


def test_a_server_that_goes_away_is_asked_again(server, address, run, tmp_path):
    server.scripts = [DONE, [Die()]]
    server.script = DONE
    result = run("batch", "-", "-o", "out.jsonl", "--in-flight", "1", *address, stdin="a\nb\nc\n")
    assert result.returncode == 0, result.stderr
    assert len(lines_of(tmp_path / "out.jsonl")) == 3


def test_a_full_disk_stops_the_job_and_costs_nothing(server, address, run, tmp_path):
    server.script = [Say("x" * 300, "stop", {"num_output_tokens": 2})]
    (tmp_path / "in.txt").write_text("".join(f"p{number}\n" for number in range(8)))
    command = ["batch", "in.txt", "-o", "out.jsonl", "--in-flight", "1", *address]
    limited = ["sh", "-c", 'ulimit -f 2; exec "$@"', "sh", *TRIDENT, *command]  # of 512 or 1024 bytes, by shell
    result = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == "trident: out.jsonl: File too large\n"
    assert run(*command).returncode == 0
    assert [each["line"] for each in lines_of(tmp_path / "out.jsonl")] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("output", ["/dev/null", ".", "nowhere/out.jsonl"])
def test_an_output_that_cannot_be_gone_on_with_is_one_line(run, tmp_path, output):
    (tmp_path / "in.txt").write_text("a\n")
    result = run("batch", "in.txt", "-o", output)
    assert result.returncode == 2
    assert result.stderr.startswith(f"trident: {output}")
    assert len(result.stderr.splitlines()) == 1


def test_an_input_that_is_not_there_is_one_line(run, tmp_path):
    result = run("batch", "nothing.jsonl", "-o", "out.jsonl")
    assert (result.returncode, result.stderr) == (
        2,
        "trident: nothing.jsonl cannot be read: No such file or directory\n",
    )
    assert not (tmp_path / "out.jsonl").exists()


def test_models_are_lines_in_a_pipe_and_json_on_demand(server, address, run):
    assert run("models", *address).stdout == "ensemble\t1\t5\t3\n"
    (model,) = json.loads(run("models", *address, "--json").stdout)
    assert model == {"name": "ensemble", "version": "1", "num_inferences": 5, "num_executions": 3}


def test_a_model_s_tensors_are_told_by_name(server, address, run):
    lines = run("models", "ensemble", *address).stdout.splitlines()
    assert "input\tmax_tokens\tINT32" in lines
    assert "output\ttext_output\t" in lines


PAGE = """\
# TYPE trident_requests_total counter
trident_engine_info{kind="replay",engine="tiny",engine_version="1"} 1
trident_requests_total{finish_reason="stop"} 3
trident_requests_total{finish_reason="length"} 4
trident_time_to_first_token_seconds_bucket{le="0.1"} 5
trident_time_to_first_token_seconds_bucket{le="0.2"} 10
trident_time_to_first_token_seconds_bucket{le="+Inf"} 10
trident_queue_seconds_bucket{le="0.1"} 0
trident_queue_seconds_bucket{le="+Inf"} 0
"""


@pytest.fixture
def metrics_url(tmp_path):
    (tmp_path / "metrics").write_text(PAGE)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split(" port ")[1].split()[0]
        yield f"127.0.0.1:{port}"
        process.kill()


def test_metrics_are_the_figures_that_people_ask_for(run, metrics_url):
    assert run("metrics", "--url", metrics_url).stdout.splitlines() == [
        "engine\ttiny (replay)",
        "sequences ended\t7",
        "time to first token\tp50 100.0 ms, p99 198.0 ms",
    ]


def test_metrics_can_be_had_in_full(run, metrics_url):
    assert 'trident_requests_total{finish_reason="stop"}\t3' in run("metrics", "--all", "--url", metrics_url).stdout
    samples = json.loads(run("metrics", "--json", "--url", metrics_url).stdout)
    assert {"name": "trident_requests_total", "labels": {"finish_reason": "length"}, "value": 4.0} in samples


def test_metrics_without_a_server_are_one_line(run):
    result = run("metrics", "--url", "127.0.0.1:1")
    assert result.returncode == 1
    assert result.stderr.startswith("trident: no answer from http://127.0.0.1:1/metrics (")
