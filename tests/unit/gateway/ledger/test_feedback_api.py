"""A judgement belongs to a request of the same tenant, counts once, and cannot hold what a database refuses."""

from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.middleware import Middleware

from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.database import Database
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.identity import Identity
from trident.gateway.ledger import feedback_api
from trident.gateway.ledger.entry import row_of
from trident.gateway.ledger.tables import add, feedback
from trident.gateway.metrics import Metrics
from trident_client.sampling import Sampling

pytestmark = pytest.mark.anyio
ANN, BOB = Identity("ann", "1"), Identity("bob", "2")
REQUEST_ID = str(uuid4())


class Gateway:
    """With one request of Ann's in its database; keys are names of tenants."""

    def __init__(self, database) -> None:
        self.database = database
        self.authenticator = SimpleNamespace(authenticate=self._authenticate)
        self.ledger = SimpleNamespace(flush=self._flush)

    async def _authenticate(self, headers, address):
        return {"ann": ANN, "bob": BOB}[headers["authorization"].removeprefix("Bearer ")]

    async def _flush(self) -> None:
        asked = Asked(REQUEST_ID, ANN, "chat", "chat", "small", "hi", Sampling())
        row = row_of(Outcome(asked, Decision("small", ("main",), ()), "main"), None)
        await self.database.run(lambda connection: add(connection, {"row": [row]}))


@pytest.fixture
async def gateway(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
    await database.start()
    yield Gateway(database)
    await database.close()


@pytest.fixture
def judge(gateway):
    app = FastAPI(middleware=[Middleware(Envelope, Metrics())])
    app.state.gateway = gateway
    add_error_handlers(app)
    app.include_router(feedback_api.router)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")

    async def post(tenant="ann", **body):
        body = {"request_id": REQUEST_ID, "thumb": "up", **body}
        return await client.post("/v1/feedback", json=body, headers={"authorization": f"Bearer {tenant}"})

    return post


@pytest.mark.parametrize("given", [REQUEST_ID, f"chatcmpl-{REQUEST_ID}", f"resp_{UUID(REQUEST_ID).hex}"])
async def test_an_answer_is_judged_by_any_of_its_ids(judge, given):
    answer = await judge(request_id=given, thumb="down")
    assert (answer.status_code, answer.json()["request_id"], answer.json()["score"]) == (200, REQUEST_ID, 0.0)


@pytest.mark.parametrize(
    ("tenant", "given"), [("bob", REQUEST_ID), ("ann", str(uuid4())), ("ann", "nothing"), ("ann", "a\0b")]
)
async def test_a_request_of_nobody_or_of_another_tenant_is_not_found(judge, tenant, given):
    answer = await judge(tenant, request_id=given)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "request_not_found")


async def test_a_second_judgement_of_the_same_key_replaces_the_first(judge, gateway):
    for thumb in ("up", "down", "up"):
        assert (await judge(thumb=thumb)).status_code == 200
    query = select(feedback.c.thumb)
    assert (await gateway.database.run(lambda connection: connection.execute(query).scalars().all())) == ["up"]


@pytest.mark.parametrize("body", [{"text": "a\0b"}, {"score": 2}, {"thumb": None}, {"text": "x" * 4001}])
async def test_what_no_database_takes_is_refused(judge, body):
    assert (await judge(**body)).status_code == 400
