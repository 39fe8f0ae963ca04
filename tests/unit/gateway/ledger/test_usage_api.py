"""What a report of usage refuses."""

from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware

from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.ledger import usage_api
from trident.gateway.metrics import Metrics

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
async def test_a_moment_that_is_no_number_is_refused_in_one_line(name, value):
    app = FastAPI(middleware=[Middleware(Envelope, Metrics())])
    app.state.gateway = SimpleNamespace()  # nothing is asked of it
    add_error_handlers(app)
    app.include_router(usage_api.router)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/admin/usage", params={name: value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, name)
    assert error["message"] == f"'{name}': Input should be a finite number"
