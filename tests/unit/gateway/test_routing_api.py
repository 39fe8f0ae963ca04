"""The operator's view of routes, over HTTP and as `trident route`: the same answers, and nothing of a prompt."""

import asyncio
import json
import time
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from typer.testing import CliRunner

from tests.gateway.running_gateway import to_toml
from tests.unit.gateway.scripted_upstream import config_of
from trident.cli import app as cli
from trident.errors import TridentError
from trident.gateway import routing_api
from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.database import Database
from trident.gateway.deployment_state import EngineLoad
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.identity import ANONYMOUS
from trident.gateway.ledger.ledger import Ledger
from trident.gateway.metrics import Metrics
from trident.gateway.router import Router
from trident_client.sampling import Sampling

pytestmark = pytest.mark.anyio
MODELS = {
    "chat": {"deployments": {"main": 90, "canary": 10}, "sticky": "user", "shadow": "small", "aliases": ["gpt"]},
    "cheap": {"deployments": {"small": 1}},
}
RULES = [{"name": "free", "when": {"group": ["free"], "prompt_matches": "^hi"}, "use_model": "cheap", "escalate": True}]
VALUES = {
    "tenants": {"students": {"groups": ["free"]}},
    "deployments": {name: {"url": f"{name}:8001"} for name in ("main", "canary", "small")},
    "models": MODELS,
    "rules": RULES,
}


@pytest.fixture
async def gateway(tmp_path):
    config = config_of(MODELS, RULES)
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await database.start()
    ledger = Ledger(config.ledger, tmp_path / "spool", database, config.deployments)
    await ledger.start()

    async def authenticate(headers, address):
        return ANONYMOUS

    yield SimpleNamespace(
        config=config,
        router=Router(config),
        database=database,
        ledger=ledger,
        authenticator=SimpleNamespace(authenticate=authenticate),
    )
    await ledger.close()
    await database.close()


@pytest.fixture
def client_at(gateway):
    app = FastAPI(middleware=[Middleware(Envelope, Metrics())])
    app.state.gateway = gateway
    add_error_handlers(app)
    app.include_router(routing_api.router)

    def client(address="127.0.0.1"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    return client


async def explain(tmp_path, *arguments):
    """`trident route explain` with the same models and rules in a file; in a thread, as it runs a loop of its own."""
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml(VALUES))
    result = await asyncio.to_thread(CliRunner().invoke, cli, ["route", "explain", "--config", str(path), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


async def test_a_decision_is_explained_with_the_live_state(client_at, gateway):
    for _ in range(3):
        gateway.router.enter("main").failed()
    gateway.router.states["canary"].read(EngineLoad(3, 4))
    answer = await client_at().post("/admin/route/explain", json={"model": "gpt", "user": "ann", "prompt": "s3cret"})
    found = answer.json()
    by_name = {each["deployment"]: each for each in found["candidates"]}
    assert found["reasons"][0] == "model chat by its alias gpt"
    assert (by_name["main"]["breaker"], by_name["main"]["running"], by_name["main"]["share"]) == ("open", 3, 0.9)
    assert by_name["canary"]["engine_load"] == 0.75
    assert found["shadow"] == "small"
    assert "s3cret" not in answer.text


async def test_the_shell_explains_the_same_offline(client_at, tmp_path):
    question = {"model": "chat", "tenant": "students", "groups": ["free"], "prompt": "hi there", "user": "bob"}
    told = (await client_at().post("/admin/route/explain", json=question)).json()
    arguments = ["--model", "chat", "--tenant", "students", "--prompt", "hi there", "--user", "bob"]
    assert json.loads(await explain(tmp_path, *arguments, "--json")) == told
    text = await explain(tmp_path, *arguments)
    assert text.startswith("model cheap, weighted\n  1. small: asked first, 100% of the weight\n")
    assert "  rule free: model cheap\n" in text
    assert "when none of them can begin\nmodel chat, weighted\n" in text


async def test_the_shell_names_what_is_wrong(tmp_path):
    with pytest.raises(TridentError, match="did you mean 'chat'"):
        await explain(tmp_path, "--model", "chta")
    with pytest.raises(TridentError, match="--operation"):
        await explain(tmp_path, "--model", "chat", "--operation", "talk")


@pytest.mark.parametrize(
    ("question", "status"), [({"model": "none"}, 404), ({}, 400), ({"model": "chat", "promt": "x"}, 400)]
)
async def test_a_wrong_question_is_refused(client_at, question, status):
    answer = await client_at().post("/admin/route/explain", json=question)
    assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "param", "code"})


async def test_a_report_of_the_ledger_is_given_by_name_or_alias_with_every_deployment(client_at, gateway):
    """Also of a request that ended a moment ago."""
    asked = Asked("a", ANONYMOUS, "chat", "chat", "chat", "hi", Sampling())
    outcome = Outcome(
        asked, Decision("chat", ("main",), ()), "main", ttft_s=0.1, duration_s=0.5, started_at=time.time()
    )
    gateway.ledger.ended(outcome)
    gateway.ledger.compared(outcome, "small", None)
    for name in ("chat", "gpt"):
        report = (await client_at().get(f"/admin/routes/{name}/report")).json()
        assert [arm["deployment"] for arm in report["arms"]] == ["main", "canary"]
        assert [arm["num_requests"] for arm in report["arms"]] == [1, 0]
        assert report["arms"][0]["latency_ms"]["mean"] == {"value": 500.0, "low": None, "high": None}
        assert [shadow["num_left_out"] for shadow in report["shadows"]] == [1]
    later = (await client_at().get("/admin/routes/chat/report", params={"since": time.time() + 60})).json()
    assert later["arms"][0]["num_requests"] == 0
    assert (await client_at().get("/admin/routes/none/report")).status_code == 404
    assert (await client_at().get("/admin/routes/chat/report", params={"since": "nan"})).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "/admin/route/explain"), ("GET", "/admin/routes/chat/report")])
async def test_who_is_no_operator_sees_nothing(client_at, method, path):
    answer = await client_at("10.0.0.9").request(method, path, json={"model": "chat"})
    assert answer.status_code == 403
