"""What clients are told of errors."""

from __future__ import annotations

import http

import httpx
import openai
import pytest
from fastapi import FastAPI
from openai.types.shared import ErrorObject
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from trident import errors
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers, api_error_of
from trident.gateway.metrics import Metrics

REQUEST_ID = "0b5c7f0e"


def leaves() -> list[type[errors.TridentError]]:
    found, pending = [], [errors.TridentError]
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        found.append(cls)
    return sorted({cls for cls in found if cls.__module__ == "trident.errors"}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_every_error_of_the_tree_becomes_a_status_that_clients_know_and_four_members(leaf):
    error = api_error_of(leaf("what was wrong"), REQUEST_ID)
    assert error.status in {status.value for status in http.HTTPStatus if status.value >= 400}
    members = error.openai_object()["error"]
    assert set(members) == {"message", "type", "param", "code"}
    ErrorObject.model_validate(members, strict=True)


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
def test_what_failed_behind_the_gateway_is_not_told_but_the_id_to_find_it_by(leaf):
    error = api_error_of(leaf("shm region /trident_7 at 10.0.0.7"), REQUEST_ID)
    assert ("10.0.0.7" in error.message) == (error.status < 500)
    assert (REQUEST_ID in error.message) == (error.status >= 500)


def test_a_cancel_is_never_sent_as_499():
    assert api_error_of(errors.RequestCancelledError("stopped"), REQUEST_ID).status == 400


def test_a_limit_says_when_to_ask_again_in_seconds_rounded_up_and_how_the_limits_stand():
    exc = errors.RateLimitError("too many", retry_after_s=1.2, kind="tokens", headers={"x-ratelimit-limit-tokens": "9"})
    error = api_error_of(exc, REQUEST_ID)
    assert (error.status, error.type, error.code) == (429, "tokens", "rate_limit_exceeded")
    assert error.headers == {"retry-after": "2", "retry-after-ms": "1200", "x-ratelimit-limit-tokens": "9"}


def test_a_spent_budget_asks_clients_not_to_try_again():
    """Those that wait for the next one, as batches do, are told when that is."""
    error = api_error_of(errors.QuotaError("spent"), REQUEST_ID)
    assert (error.status, error.type, error.headers) == (429, "insufficient_quota", {"x-should-retry": "false"})
    headers = api_error_of(errors.QuotaError("spent", retry_after_s=9.5), REQUEST_ID).headers
    assert headers == {"x-should-retry": "false", "retry-after": "10", "retry-after-ms": "9500"}


def test_a_missing_key_is_asked_for():
    error = api_error_of(errors.AuthenticationError("no key"), REQUEST_ID)
    assert (error.status, error.code, error.headers) == (401, "invalid_api_key", {"www-authenticate": "Bearer"})


def test_a_full_server_says_when_to_ask_again():
    assert api_error_of(errors.QueueFullError("full"), REQUEST_ID).headers["retry-after"] == "1"


def test_an_errors_own_parameter_and_code_win_over_the_leafs():
    error = api_error_of(errors.InvalidRequestError("bad", param="messages[0].role", code="invalid_type"), REQUEST_ID)
    assert (error.param, error.code) == ("messages[0].role", "invalid_type")


class Message(BaseModel, extra="forbid"):
    role: str


class Question(BaseModel, extra="forbid"):
    messages: list[Message]
    n: int = 1


@pytest.fixture
def client():
    app = FastAPI(middleware=[Middleware(Envelope, Metrics())], redirect_slashes=False)
    add_error_handlers(app)

    @app.post("/v1/ask")
    async def ask(question: Question) -> str:
        raise {1: errors.EngineError("cuda error 700"), 2: KeyError("internal")}[question.n]

    @app.post("/v2/ask")
    async def ask_kserve() -> str:
        raise errors.InvalidRequestError("tensor\nunknown")

    @app.get("/v1/teapot")
    async def teapot() -> str:
        raise HTTPException(418, "teapot", {"x-kind": "earl grey"})

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b'{"messages": [{"role": 5}]}', "messages[0].role", "invalid_type"),
        (b'{"messages": [{}]}', "messages[0].role", "missing_required_parameter"),
        (b'{"messages": [], "temprature": 1}', "temprature", "unknown_parameter"),
        (b'{"messages": [], "n": "many"}', "n", "invalid_type"),
        (b'{"messages": [', None, "invalid_json"),
        (b"", None, "missing_required_parameter"),
    ],
)
@pytest.mark.anyio
async def test_what_is_wrong_with_a_body_is_named_by_its_path(client, body, param, code):
    answer = await client.post("/v1/ask", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nope", 404, "unknown_url"),
        ("GET", "/v1/ask", 405, "method_not_allowed"),
        ("GET", "/", 404, "unknown_url"),
    ],
)
@pytest.mark.anyio
async def test_no_such_path_and_no_such_method_have_the_same_form(client, method, path, status, code):
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert path in answer.json()["error"]["message"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.anyio
async def test_a_refusal_of_the_framework_keeps_its_status_and_headers(client):
    answer = await client.get("/v1/teapot")
    assert (answer.status_code, answer.headers["x-kind"]) == (418, "earl grey")
    assert answer.json()["error"]["message"] == "teapot"


@pytest.mark.parametrize("number", [1, 2], ids=["the engine", "the gateway itself"])
@pytest.mark.anyio
async def test_a_failure_inside_is_a_500_with_the_requests_id_and_no_more(client, number):
    answer = await client.post("/v1/ask", json={"messages": [], "n": number})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "cuda" not in answer.text
    assert "internal" not in answer.text


@pytest.mark.anyio
async def test_under_v2_an_error_is_one_string_on_one_line(client):
    answer = await client.post("/v2/ask")
    assert (answer.status_code, answer.json()) == (400, {"error": "tensor unknown"})
    assert isinstance((await client.get("/v2/nope")).json()["error"], str)


@pytest.mark.anyio
async def test_openais_own_client_reads_every_member(client):
    async with openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="k", http_client=client, max_retries=0) as own:
        with pytest.raises(openai.NotFoundError) as caught:
            await own.get("/nope", cast_to=object)
    assert (caught.value.code, caught.value.type, caught.value.param) == ("unknown_url", "invalid_request_error", None)
    assert caught.value.request_id
