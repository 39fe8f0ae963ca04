"""The gateway as a process with nothing behind it: bodies, idle connections, TLS, its file, its workers, its end."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.gateway.running_gateway import running_gateway, to_toml
from tests.unit.client.certificates import Authority

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOBODY = {"deployments": {"main": {"url": "127.0.0.1:9"}}, "models": {"small": {"deployments": {"main": 1}}}}
MEGABYTE = 1 << 20
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A gateway before a server that is not there."""
    values = {**NOBODY, "server": {"cors_origins": ["https://chat.example"]}}
    with running_gateway(tmp_path_factory.mktemp("alone"), values) as running:
        yield running


@pytest.fixture
def client(alone):
    with httpx.Client(base_url=alone.url, timeout=30, trust_env=False) as made:
        yield made


def until(is_so, timeout_s: float = 20.0):
    """What `is_so` gives as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.02)
    return found


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def chat(content: object) -> dict[str, object]:
    return {"model": "small", "messages": [{"role": "user", "content": content}]}


def test_a_prompt_of_nearly_a_megabyte_is_taken_and_one_beyond_is_413(client):
    assert client.post("/v1/chat/completions", json=chat("a" * (MEGABYTE - 200))).status_code in {400, 503}
    answer = client.post("/v1/chat/completions", json=chat("a" * MEGABYTE))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/feedback", "/v2/models/small/infer"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_100_megabytes_are_413_and_are_not_held(client, alone, path, kind):
    before = peak_bytes(alone.process.pid)

    def pieces():
        for _ in range(100):
            yield b" " * MEGABYTE

    answer = client.post(path, content=pieces(), headers={"content-type": kind})
    assert answer.status_code == 413
    assert peak_bytes(alone.process.pid) - before < 16 * MEGABYTE


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"[" * 100_000 + b"]" * 100_000, JSON, 400),
        (b'{"model":' * 60_000, JSON, 400),
        (b'{"model": "\xff\xfe"}', JSON, 400),
        (gzip.compress(b"0" * 50 * MEGABYTE), {**JSON, "content-encoding": "gzip"}, 415),
        (b"{}", {**JSON, "content-encoding": "br, gzip"}, 415),
    ],
    ids=["deep", "deep objects", "not UTF-8", "gzip bomb", "two encodings"],
)
def test_bodies_that_mean_harm_are_refused_with_an_error_object(client, content, headers, status):
    answer = client.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_image_by_address_is_refused_and_nothing_is_fetched(client):
    with socket.create_server(("127.0.0.1", 0)) as tempting:
        url = f"http://127.0.0.1:{tempting.getsockname()[1]}/latest/meta-data"
        parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
        answer = client.post("/v1/chat/completions", json=chat(parts))
        tempting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            tempting.accept()
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_it_lives_and_is_not_ready_without_a_server_behind_it(client):
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
    answer = client.post("/v1/chat/completions", json=chat("Hello"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert "127.0.0.1:9" not in answer.text
    assert answer.headers["retry-after"] == "1"


def test_five_thousand_idle_connections_cost_the_next_client_nothing(alone):
    """Each has asked once and stays open, while others ask."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5500:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5500), hard))
    port = int(alone.url.rsplit(":", 1)[1])
    with contextlib.ExitStack() as connections:
        for _ in range(5000):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: gateway\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            assert httpx.get(f"{alone.url}/health/live", timeout=5, trust_env=False).status_code == 200


@pytest.mark.parametrize(("origin", "status"), [("https://chat.example", 200), ("https://evil.example", 400)])
def test_pages_of_the_origins_that_are_named_may_ask_and_no_others(client, origin, status):
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    answer = client.options("/v1/chat/completions", headers={"origin": origin, **ask})
    assert answer.status_code == status
    assert (answer.headers.get("access-control-allow-origin") == origin) == (status == 200)


def test_a_good_rewrite_is_served_and_a_bad_one_changes_nothing(client, alone):
    before = tomllib.loads(alone.config_path.read_text())

    def names() -> set[str]:
        return {model["id"] for model in client.get("/v1/models").json()["data"]}

    assert names() == {"small"}
    alone.rewrite({**before, "models": {**NOBODY["models"], "large": {"deployments": {"main": 1}}}})
    until(lambda: names() == {"small", "large"})
    alone.rewrite({**before, "models": {"tiny": {"deployments": {"mian": 1}}}})
    until(lambda: "did you mean 'main'" in alone.log_path.read_text())
    assert names() == {"small", "large"}
    page = client.get("/metrics").text
    assert 'config_reloads_total{result="taken"} 1.0' in page
    assert 'config_reloads_total{result="refused"} 1.0' in page
    alone.rewrite(before)
    alone.process.send_signal(signal.SIGHUP)
    until(lambda: names() == {"small"})


def test_behind_tls_nothing_that_is_secret_is_written_down(tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("gateway")
    values = {**NOBODY, "auth": {"required": True}, "server": {"tls_cert": str(cert), "tls_key": str(key)}}
    with running_gateway(tmp_path, values) as running:
        with pytest.raises(httpx.HTTPError):
            httpx.get(running.url.replace("https", "http") + "/health/live", trust_env=False)
        trust = ssl.create_default_context(cafile=str(authority.ca_file))
        with httpx.Client(base_url=running.url, verify=trust, trust_env=False) as client:
            for header in ({"authorization": "Bearer sk-very-secret-key"}, {"api-key": "sk-very-secret-key"}):
                body = {**chat("a prompt of my own"), "user": "user-secret"}
                answer = client.post("/v1/chat/completions?token=query-secret", json=body, headers=header)
                assert answer.status_code == 401
                assert "strict-transport-security" in answer.headers
                client.post("/v1/chat/completions", content=b'{"a prompt of my own', headers={**header, **JSON})
        until(lambda: running.log_path.read_text().count("/v1/chat/completions") >= 4)
    log = running.log_path.read_text()
    secrets = ("sk-very-secret-key", "a prompt of my own", "user-secret", "query-secret")
    assert not [secret for secret in secrets if secret in log]
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {line["status"] for line in lines if line["event"] == "request"} <= {400, 401}


def test_several_workers_answer_outlive_one_of_them_and_end_together(tmp_path):
    with running_gateway(tmp_path, {**NOBODY, "server": {"workers": 2}}) as running:
        until(lambda: "listens on" in running.log_path.read_text())
        workers = children_of(running.process.pid)
        assert len(workers) == 2
        for _ in range(20):
            assert httpx.get(f"{running.url}/v1/models", trust_env=False).status_code == 200
        page = httpx.get(f"{running.url}/metrics", trust_env=False).text
        assert 'http_responses_total{route="/v1/models",status="200"} 20.0' in page
        victim = workers[-1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in children_of(running.process.pid) and len(children_of(running.process.pid)) >= 2)
        assert httpx.get(f"{running.url}/health/live", trust_env=False).status_code == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def children_of(pid: int) -> list[int]:
    """The workers, without the process that multiprocessing keeps beside them."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return sorted(found)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_keeps_it_from_starting_is_one_line_a_worker(tmp_path, workers):
    (tmp_path / "taken").write_text("a file, where the data folder is to be")
    server = {"port": 0, "workers": workers, "data": str(tmp_path / "taken")}
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml({**NOBODY, "auth": {"required": False}, "server": server}))
    command = [sys.executable, "-m", "trident", "gateway", "--config", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert lines
    assert all(line.startswith("trident: ") for line in lines)
    assert "taken" in lines[0]
    assert ended.stdout == ""
