"""What every answer carries, and what is written of it."""

from __future__ import annotations

import json
import logging
import uuid

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from tests.unit.gateway.observed import outcome

from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.identity import Identity
from trident.gateway.logs import JsonLines, RequestLog
from trident.gateway.metrics import Metrics

pytestmark = pytest.mark.anyio


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def client(metrics):
    app = FastAPI(middleware=[Middleware(Envelope, metrics)])
    add_error_handlers(app)
    log = RequestLog()

    @app.get("/v1/things/{name}")
    async def thing(request: Request, name: str) -> str:
        request.state.identity = Identity("acme", "key-1")
        log.ended(outcome())
        if name == "broken":
            raise RuntimeError(f"broken by {name} of a prompt")
        return request.state.request_id

    @app.get("/health/live")
    async def live() -> str:
        return "live"

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://gateway")


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "trident")
    return lambda: [
        json.loads(JsonLines().format(record)) for record in caplog.records if record.name.startswith("trident")
    ]


async def test_every_answer_has_an_id_that_the_gateway_made(client):
    answer = await client.get("/v1/things/a", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == answer.json()
    uuid.UUID(answer.json())
    assert (await client.get("/nope")).headers["x-request-id"] != answer.json()


async def test_every_answer_tells_browsers_to_do_nothing_with_it(client):
    for path in ("/v1/things/a", "/nope", "/v1/things/broken"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert "max-age" in headers["strict-transport-security"]


async def test_plain_http_promises_no_tls(client):
    assert "strict-transport-security" not in (await client.get("http://gateway/v1/things/a")).headers


async def test_a_request_is_one_line_with_its_generation_and_without_its_path_or_query(client, lines):
    answer = await client.get("/v1/things/secret-name?key=secret-key", headers={"authorization": "Bearer secret"})
    (line,) = lines()
    known = {
        "request_id": answer.json(),
        "route": "/v1/things/{name}",
        "status": 200,
        "tenant": "acme",
        "key_id": "key-1",
    }
    known |= {"model": "small", "deployment": "main", "ttft_ms": 100.0, "input_tokens": 5, "output_tokens": 11}
    assert known.items() <= line.items()
    assert "secret" not in json.dumps(line)


async def test_an_unexpected_exception_is_logged_with_its_place_and_without_its_text(client, lines):
    await client.get("/v1/things/broken")
    failure, request = lines()
    assert failure["level"] == "error"
    assert failure["exception"][-1] == "RuntimeError"
    assert any("test_envelope" in frame for frame in failure["exception"])
    assert "of a prompt" not in json.dumps(failure)
    assert request["status"] == 500


async def test_probes_are_counted_and_not_logged(client, metrics, lines):
    await client.get("/health/live")
    assert lines() == []
    assert 'http_responses_total{route="/health/live",status="200"} 1.0' in metrics.page().decode()


async def test_paths_that_do_not_exist_are_one_label(client, metrics):
    for number in range(50):
        await client.get(f"/scan/{number}")
    assert 'http_responses_total{route="(none)",status="404"} 50.0' in metrics.page().decode()
