"""What probes and operators are told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware

from trident.errors import AuthenticationError, UnavailableError
from trident.gateway.edge import health
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.identity import ANONYMOUS, Identity
from trident.gateway.metrics import Metrics

pytestmark = pytest.mark.anyio


class Deployment:
    """Answers, does not, or hangs."""

    def __init__(self) -> None:
        self.answer: bool | Exception | None = True
        self.num_asked = 0

    async def is_ready(self) -> bool:
        self.num_asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)


@pytest.fixture
def deployments():
    return {name: Deployment() for name in ("main", "canary", "other")}


@pytest.fixture
def gateway(deployments):
    models = {
        "small": SimpleNamespace(deployments={"main": 1, "canary": 1}, fallbacks=()),
        "large": SimpleNamespace(deployments={"other": 1}, fallbacks=("main",)),
    }

    async def authenticate(headers, address) -> Identity:
        if headers.get("authorization") == "Bearer admin":
            return Identity("ops", "key-9", endpoints=frozenset({"admin"}))
        if "authorization" in headers:
            raise AuthenticationError("unknown key")
        return ANONYMOUS

    return SimpleNamespace(
        config=SimpleNamespace(models=models),
        upstreams=deployments,
        metrics=Metrics(),
        is_draining=False,
        authenticator=SimpleNamespace(authenticate=authenticate),
    )


@pytest.fixture
def client_from(gateway):
    app = FastAPI(middleware=[Middleware(Envelope, gateway.metrics)])
    app.state.gateway, app.state.readiness = gateway, health.Readiness(gateway)
    add_error_handlers(app)
    app.include_router(health.router)

    def connect(address: str = "203.0.113.7") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 5)), base_url="http://127.0.0.1")

    return connect


async def test_it_is_ready_while_every_model_has_a_deployment_that_answers(client_from, deployments):
    deployments["main"].answer = False
    assert (await client_from().get("/health/ready")).status_code == 200


@pytest.mark.parametrize("answer", [False, UnavailableError("gone"), None], ids=["not ready", "gone", "hangs"])
async def test_it_is_not_ready_when_a_model_has_none(client_from, deployments, answer, monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE_S", 0.05)
    deployments["main"].answer = deployments["other"].answer = answer
    ready = await client_from().get("/health/ready")
    assert (ready.status_code, ready.json()["reason"]) == (503, "1 of 2 models have no deployment that answers")


async def test_many_probes_ask_the_deployments_once(client_from, deployments):
    await asyncio.gather(*[client_from().get("/health/ready") for _ in range(50)])
    assert deployments["main"].num_asked == 1


async def test_while_it_drains_it_lives_and_is_not_ready(client_from, gateway):
    gateway.is_draining = True
    assert (await client_from().get("/health/live")).status_code == 200
    assert (await client_from().get("/health/ready")).json() == {"status": "not ready", "reason": "draining"}


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1:8080"), ("::1", "[::1]"), ("::1", "localhost")])
async def test_figures_are_open_to_the_machine_itself(client_from, address, host):
    answer = await client_from(address).get("/metrics", headers={"host": host})
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")


@pytest.mark.parametrize("host", ["api.example.org", "localhost.example.org", "", "[", "10.0.0.1:8080"])
async def test_a_name_of_something_else_opens_them_to_nobody(client_from, host):
    """As a page has it whose name was made to mean this machine, and a proxy that passes it on."""
    assert (await client_from("127.0.0.1").get("/metrics", headers={"host": host})).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost:80", 200),
    ],
)
async def test_a_page_from_elsewhere_in_a_browser_here_opens_them_to_nobody(client_from, origin, status):
    assert (await client_from("127.0.0.1").get("/metrics", headers={"origin": origin})).status_code == status


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-proto", "via"])
async def test_a_proxy_on_the_machine_opens_them_to_nobody(client_from, header):
    assert (await client_from("127.0.0.1").get("/metrics", headers={header: "203.0.113.7"})).status_code == 403


async def test_elsewhere_they_need_a_key_with_the_scope_admin(client_from):
    client = client_from()
    assert (await client.get("/metrics")).status_code == 403
    assert (await client.get("/metrics", headers={"authorization": "Bearer guess"})).status_code == 401
    assert (await client.get("/metrics", headers={"authorization": "Bearer admin"})).status_code == 200
