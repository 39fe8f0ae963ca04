"""The operator's overview over HTTP: who may see it, what it tells, and what it never does."""

import time
from types import SimpleNamespace

import httpx
import pytest

from tests.unit.gateway.observed import asked, outcome
from trident.errors import UnavailableError
from trident.gateway.app import create_app
from trident.gateway.asked import Decision
from trident.gateway.config_file import parse_config
from trident.gateway.gateway import Gateway
from trident.gateway.identity import Limits
from trident.gateway.key_table import add_key
from trident.gateway.keys import ApiKey, digest_of, new_key, read_pepper
from trident.gateway.ledger.entry import row_of
from trident.gateway.ledger.tables import add
from trident_client.metrics import parse_metrics

pytestmark = pytest.mark.anyio
PAGE = """
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="scheduled"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="waiting"} 5
"""
VALUES = {
    "cache": {"enabled": True},
    "deployments": {
        "main": {"url": "grpcs://10.0.0.1:8001", "version": "1"},
        "canary": {"url": "127.0.0.1:1", "version": "2"},
    },
    "models": {
        "chat": {"deployments": {"main": 3, "canary": 1}, "aliases": ["gpt"]},
        "safe": {"deployments": {"main": 1}, "fallbacks": ["canary"], "shadow": "canary", "shadow_fraction": 0.5},
    },
    "rules": [{"name": "free", "when": {"group": ["free"]}, "use_model": "safe"}],
    "tenants": {"acme": {"limits": {"concurrent_requests": 4}}},
}
KEYS = {"admin": ("a" * 12, frozenset({"admin"})), "plain": ("b" * 12, None)}


class Engine:
    """A deployment as the gateway's client sees it."""

    def __init__(self, page):
        self._page = page

    async def is_ready(self):
        return self._page is not None

    async def metrics(self):
        if self._page is None:
            raise UnavailableError("nobody answers")
        return parse_metrics(self._page)


@pytest.fixture
async def gateway(tmp_path):
    config = parse_config({**VALUES, "server": {"data": str(tmp_path)}}, environ={})
    gateway = Gateway(config)
    await gateway.database.start()
    await gateway.authenticator.start()
    await gateway.upstreams.close()
    gateway.upstreams = {"main": Engine(PAGE), "canary": Engine(None)}
    yield gateway
    await gateway.database.close()


@pytest.fixture
async def keys(gateway):
    """By what they may do, as a client shows them."""
    pepper, texts = read_pepper(gateway.config.server), {}
    for name, (prefix, endpoints) in KEYS.items():
        texts[name] = new_key(prefix)
        key = ApiKey(
            prefix, "acme", name, digest_of(pepper, texts[name]), time.time(), endpoints=endpoints,
            limits=Limits(requests_per_minute=10), expires_at=time.time() + 60,
        )  # fmt: skip
        await gateway.database.run(lambda connection, key=key: add_key(connection, key))
    return texts


@pytest.fixture
def look(gateway):
    """`look()`: as this machine; `look(key)`: as somebody elsewhere."""
    app = create_app(gateway)

    async def ask(key=None, address="127.0.0.1"):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/admin/overview", headers=headers)

    return ask


async def test_only_an_operator_sees_it(look, keys):
    elsewhere = "203.0.113.7"
    assert (await look(address=elsewhere)).status_code == 401
    assert (await look("tri_guess", elsewhere)).status_code == 401
    refusal = await look(keys["plain"], elsewhere)
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (403, "endpoint_not_allowed")
    assert (await look(keys["admin"], elsewhere)).status_code == 200


async def test_deployments_are_told_as_they_stand_with_what_their_engines_say(look, gateway):
    for _ in range(3):
        gateway.router.enter("canary").failed()
    main, canary = (await look()).json()["deployments"]
    assert (main["address"], main["ready"], main["breaker"]) == ("10.0.0.1:8001", True, "closed")
    assert (main["engine"]["running"], main["engine"]["waiting"]) == (2, 5)
    assert (canary["ready"], canary["engine"], canary["breaker"], canary["running"]) == (False, None, "open", 3)
    assert "asked again in" in canary["obstacle"]


async def test_routes_are_told_with_shares_and_what_came_of_them(look, gateway):
    gateway.statistics.ended(outcome(decision=Decision("chat", ("main",), ()), failures={"canary": None}))
    chat, safe = (await look()).json()["models"]
    told = [(each["deployment"], each["share"], each["requests"], each["errors"]) for each in chat["deployments"]]
    assert told == [("main", 0.75, 1, 0), ("canary", 0.25, 1, 1)]
    assert [each["role"] for each in safe["deployments"]] == ["weighted", "fallback", "shadow"]
    assert (safe["rules"], safe["shadow_fraction"], chat["aliases"]) == (["free"], 0.5, ["gpt"])


async def test_the_traffic_is_of_the_worker_that_answers(look, gateway):
    gateway.traffic.began(asked())
    found = (await look()).json()
    assert (found["traffic"]["running"], found["worker"]["workers"]) == (1, 1)


async def test_a_key_is_told_without_its_secret(look, gateway, keys):
    row = row_of(outcome(started_at=time.time()), None)
    await gateway.database.run(lambda connection: add(connection, {"row": [{**row, "key_id": "b" * 12}]}))
    answer = await look()
    told = {each["name"]: each for each in answer.json()["keys"]["keys"]}
    assert (told["plain"]["endpoints"], told["admin"]["endpoints"]) == (None, ["admin"])
    assert told["plain"]["last_used_at"] == pytest.approx(row["ended_at"])
    assert (told["admin"]["last_used_at"], told["admin"]["state"]) == (None, "active")
    assert not any(text.rpartition("_")[2] in answer.text for text in keys.values())


async def test_limits_are_told_of_which_something_is_taken(look, gateway, keys):
    who = gateway.authenticator.identity("acme", "b" * 12, limits=Limits(requests_per_minute=10))
    await gateway.limiter.reserve(who, 100, 0.0)
    told = [(each["kind"], each["key"], each["used"], each["limit"]) for each in (await look()).json()["limits"]]
    assert told == [("concurrent", None, 1, 4), ("requests", "b" * 12, 1, 10)]


async def test_of_semantic_hits_the_share_of_false_ones_has_its_interval(look, gateway):
    async def figures():
        return {"vectors": 7, "hits": 40, "refused": 3, "failures": 0}

    gateway.cache.semantic = SimpleNamespace(figures=figures)
    gateway.cache.verification = SimpleNamespace(num_verified=20, num_false=1)
    cache = (await look()).json()["cache"]
    semantic = cache["semantic_cache"]
    assert (cache["answers"], cache["misses"], semantic["vectors"], semantic["refused"]) == (0, 0, 7, 3)
    assert semantic["false_rate"]["value"] == 0.05
    assert 0 < semantic["false_rate"]["low"] < 0.05 < semantic["false_rate"]["high"] < 0.3


async def test_without_its_database_it_tells_the_rest(look, gateway):
    async def away(_):
        raise UnavailableError("the database does not answer")

    gateway.database.run = away
    found = (await look()).json()
    assert found["keys"] is None
    assert len(found["deployments"]) == 2


async def test_the_document_has_its_form(gateway):
    schema = create_app(gateway).openapi()
    answer = schema["paths"]["/admin/overview"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Overview")
