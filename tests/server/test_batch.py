"""`trident batch` against the real server: kill -9 in the middle loses nothing and does nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

TRIDENT = [sys.executable, "-m", "trident"]
NUM_LINES = 40
BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Name a colour."}]},
    "/v1/completions": {"prompt": "The capital of France is"},
}


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_killed_batch_goes_on_and_every_line_is_answered_once(server, protocol, tmp_path):
    urls = list(BODIES)
    requests = [
        {
            "custom_id": f"request-{number}",
            "method": "POST",
            "url": urls[number % 2],
            "body": {"model": "m", "max_tokens": 12, "seed": 1, **BODIES[urls[number % 2]]},
        }
        for number in range(NUM_LINES)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in requests))
    output = tmp_path / "out.jsonl"
    url = server.grpc_url if protocol == "grpc" else server.http_url
    command = [*TRIDENT, "batch", "in.jsonl", "-o", "out.jsonl", "--url", url, "--protocol", protocol]
    with subprocess.Popen([*command, "--in-flight", "2"], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not output.exists() or len(lines_of(output)) < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = lines_of(output)
    assert 5 <= len(before) < NUM_LINES
    result = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["answered_before"] == len(before)
    answers = lines_of(output)
    assert [each["custom_id"] for each in answers] == [f"request-{number}" for number in range(NUM_LINES)]
    assert all(each in answers for each in before)
    for each, asked in zip(answers, requests, strict=True):
        body = each["response"]["body"]
        assert (each["response"]["status_code"], each["error"]) == (200, None)
        assert body["object"] == ("chat.completion" if "messages" in asked["body"] else "text_completion")
        assert 0 < body["usage"]["completion_tokens"] <= 12
    assert "Paris" in answers[1]["response"]["body"]["choices"][0]["text"]


def test_what_the_server_refuses_is_in_the_file_of_failures(server, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "x", "max_tokens": 1}\n{"prompt": "x", "max_tokens": 0}\n')
    command = [*TRIDENT, "batch", "in.jsonl", "-o", "out.jsonl", "--url", server.grpc_url]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (failure,) = lines_of(tmp_path / "out.failed.jsonl")
    assert (failure["line"], failure["error"]["type"]) == (2, "invalid_request_error")
    assert "max_tokens must be" in failure["error"]["message"]
    assert [each["line"] for each in lines_of(tmp_path / "out.jsonl")] == [1]
