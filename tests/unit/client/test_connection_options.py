"""The verbs that ask a running server reach it in one way: model, API key and certificates, over gRPC and HTTP."""

import json
import ssl
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .call import call
from .certificates import Authority
from .scripted_server import Say, ScriptedServer, ServerTls

KEY = "tk-example"
ASKED = {
    "generate": ["generate", "Hi"],
    "chat": ["chat"],
    "batch": ["batch", "-", "-o", "out.jsonl"],
}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(authority):
    """One that asks its clients for a certificate."""
    server = ScriptedServer(ServerTls(*authority.issue("server"), client_ca=authority.ca_file))
    server.start()
    server.script = [Say("fine", "stop", {"num_output_tokens": 1})]
    yield server
    server.stop()


@pytest.fixture
def options(authority, tmp_path):
    """How a client proves itself, and its API key in a file."""
    cert_file, key_file = authority.issue("client")
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    return ["--api-key", "@key", "--ca-file", authority.ca_file, "--cert-file", cert_file, "--key-file", key_file]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`trident` in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return call


@pytest.fixture
def address(server, protocol):
    return ["--url", server.grpc_url if protocol == "grpc" else server.http_url, "--protocol", protocol]


@pytest.mark.parametrize("verb", ASKED)
def test_a_verb_that_asks_takes_a_model_a_key_and_certificates(server, address, options, run, verb):
    result = run(*ASKED[verb], *address, *options, "--model", "other", stdin="Hi\n")
    assert result.returncode == 0, result.stderr
    (seen,) = server.requests
    assert (seen["model"], seen["headers"]["authorization"]) == ("other", f"Bearer {KEY}")


def test_a_load_is_put_on_over_the_same_connection_and_its_report_keeps_the_key_to_itself(
    server, address, options, run
):
    load = ["--concurrency", "1", "--warmup-s", "0", "--duration-s", "0.2", "--max-tokens", "1", "--repeats", "1"]
    result = run("bench", "serve", *load, *address, *options, "--json")
    assert result.returncode == 0, result.stderr
    assert {seen["headers"]["authorization"] for seen in server.requests} == {f"Bearer {KEY}"}
    assert set(json.loads(result.stdout)["target"]) == {"url", "protocol", "model"}
    assert KEY not in result.stdout + result.stderr


def test_a_key_for_a_server_that_is_still_to_be_started_is_refused(options, run):
    result = run("bench", "serve", *options)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "are for a running server; say which with --url" in result.stderr


def test_models_are_told_over_the_same_connection(address, options, run):
    result = run("models", *address, *options)
    assert (result.returncode, result.stdout) == (0, "ensemble\t1\t5\t3\n")


def test_metrics_are_read_with_the_same_key_and_certificates(authority, options, run, tmp_path):
    seen = []

    class Page(SimpleHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers["authorization"])
            super().do_GET()

        def log_message(self, *_):
            pass

    (tmp_path / "metrics").write_text("up 1\n", encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Page, directory=tmp_path)) as page:
        context = ServerTls(*authority.issue("page"), client_ca=authority.ca_file).ssl_context()
        assert context.verify_mode is ssl.CERT_REQUIRED
        page.socket = context.wrap_socket(page.socket, server_side=True)
        threading.Thread(target=page.serve_forever).start()
        result = run("metrics", "--all", "--url", f"127.0.0.1:{page.server_port}", *options)
        page.shutdown()
    assert (result.returncode, result.stdout) == (0, "up\t1\n"), result.stderr
    assert seen == [f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--api-key", "@nothing"], "the API key in nothing cannot be read"),
        (["--api-key", ""], "the API key is empty"),
        (["--cert-file", "client.pem"], "cert_file and key_file together"),
        (["--ca-file", "nothing.pem"], "nothing.pem"),
    ],
)
def test_what_cannot_be_used_is_one_line_before_anything_is_sent(run, given, said):
    result = run("generate", "Hi", "--url", "127.0.0.1:1", *given)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
