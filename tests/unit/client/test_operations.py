"""What an operator asks of a server: health, models, metrics; and a chat. Over every protocol and face."""

import http.server
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import NotFoundError, UnavailableError
from trident_client import Client, Health, ServedModel
from trident_client.metrics import metrics_url_of, parse_metrics

from .scripted_server import Say

PAGE = b"""# HELP nv_inference_count Number of inferences
# TYPE nv_inference_count counter
nv_inference_count{model="ensemble",version="1"} 7
nv_inference_count{model="a \\"b\\"\\n\\\\",version="1"} 2
up 1
bucket{le="+Inf"} 3e2 1700000000
nonsense
"""


@pytest.fixture
def metrics_url():
    """A page of metrics at /metrics, and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_health_tells_of_each_endpoint(client, url, server):
    assert client.health() == (Health(url, is_live=True, is_ready=True),)


def test_a_server_that_is_gone_is_neither_live_nor_ready(protocol):
    with Client("127.0.0.1:1", protocol) as client:
        assert client.health() == (Health("127.0.0.1:1", is_live=False, is_ready=False),)
        with pytest.raises(UnavailableError):
            client.models()


def test_the_models_are_told(client):
    assert client.models() == (ServedModel("ensemble", "1", 5, 3),)


def test_a_server_that_does_not_tell_its_models_is_an_error_that_says_where_they_are(client, server):
    server.tells_models = False
    with pytest.raises(NotFoundError, match="a gateway has them at GET /v1/models"):
        client.models()


def test_a_chat_is_messages_or_one_question(client, server):
    server.script = [Say("Paris", "stop")]
    assert client.chat("The capital of France?", max_tokens=3).text == "Paris"
    sent = server.requests[0]["inputs"]["messages"]
    assert '{"role": "user", "content": "The capital of France?"}' in (sent[0] if isinstance(sent, list) else sent)


def test_metrics_are_read_and_added_up(url, protocol, metrics_url):
    with Client(url, protocol, metrics_url=metrics_url) as client:
        metrics = client.metrics()
    assert metrics.total("nv_inference_count") == 9
    assert metrics.total("nv_inference_count", model='a "b"\n\\') == 2
    assert metrics.total("up") == 1
    assert metrics.total("bucket", le="+Inf") == 300
    assert metrics.total("nv_inference_count", model="nobody") is None
    assert len(metrics.samples) == 4


@pytest.mark.parametrize("path", ["", "/elsewhere"])
def test_no_page_of_metrics_is_said_to_be_so(url, protocol, metrics_url, path):
    where = f"{metrics_url}{path}" if path else "127.0.0.1:1"
    with Client(url, protocol, metrics_url=where) as client, pytest.raises(UnavailableError, match=where):
        client.metrics()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("10.0.0.7:8001", "http://10.0.0.7:8002/metrics"),
        ("https://triton.example/v2", "http://triton.example:8002/metrics"),
        ("grpc://[::1]:8001", "http://[::1]:8002/metrics"),
    ],
)
def test_a_server_has_its_metrics_on_port_8002(url, expected):
    assert metrics_url_of(url) == expected


@given(st.text())
def test_no_page_breaks_the_reading(text):
    parse_metrics(text)
