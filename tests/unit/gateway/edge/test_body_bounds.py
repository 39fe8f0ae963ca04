"""What a body may be before an endpoint sees it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from trident.gateway.edge.body_bounds import BodyBounds, Bounds, check_json_text
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.metrics import Metrics

pytestmark = pytest.mark.anyio
BOUNDS = Bounds(10_000, max_form_bytes=50_000, max_json_depth=8, timeout_s=0.2, form_paths=frozenset({"/form"}))
DEEP = b"[" * 9 + b"]" * 9
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}


@pytest.fixture
def app():
    app = FastAPI(middleware=[Middleware(Envelope, Metrics()), Middleware(BodyBounds, BOUNDS)])
    add_error_handlers(app)

    @app.api_route("/echo", methods=["GET", "POST", "DELETE"])
    @app.post("/form")
    @app.post("/v2/models/small/infer")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def chunks(number: int):
    for _ in range(number):
        yield b"1" * 1000


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_without_a_body_passes(client, method):
    assert (await client.request(method, "/echo")).json() == 0


async def test_a_body_within_the_bounds_reaches_the_endpoint_whole(client):
    assert (await client.post("/echo", content=b"1" * 10_000)).json() == 10_000
    assert (await client.post("/echo", content=chunks(10))).json() == 10_000


@pytest.mark.parametrize("content", [b"1" * 10_001, chunks(11)], ids=["announced", "in chunks"])
async def test_a_body_beyond_them_is_413(client, content):
    answer = await client.post("/echo", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_a_form_may_be_as_large_as_a_file_and_no_larger(client):
    assert (await client.post("/form", files={"file": b"1" * 40_000})).json() > 40_000
    assert (await client.post("/form", files={"file": b"1" * 60_000})).status_code == 413
    assert (await client.post("/form", content=chunks(51), headers=FORM)).status_code == 413


@pytest.mark.parametrize("headers", [FORM, [*JSON.items(), *FORM.items()], [*FORM.items(), *JSON.items()]])
async def test_who_calls_a_body_a_form_may_send_no_more_of_it_where_no_forms_are_taken(client, headers):
    assert (await client.post("/echo", content=b"1" * 10_001, headers=headers)).status_code == 413
    assert (await client.post("/echo", content=chunks(11), headers=headers)).status_code == 413


async def test_a_compressed_body_is_415_however_small(client):
    answer = await client.post("/echo", content=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content", [b'{"a": "\xff"}', b"\xed\xa0\x80", b'"\xc3'])
async def test_a_body_that_is_not_utf8_is_400_and_says_where(client, content):
    answer = await client.post("/echo", content=content)
    assert answer.status_code == 400
    assert "not UTF-8: byte" in answer.json()["error"]["message"]


async def test_a_body_that_is_nested_too_deep_is_400(client):
    assert (await client.post("/echo", content=b"[" * 8 + b"]" * 8)).status_code == 200
    answer = await client.post("/echo", content=b"[" * 9 + b"]" * 9)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_binary_tensors_are_not_read_as_text(client):
    headers = {"inference-header-content-length": "2"}
    assert (await client.post("/v2/models/small/infer", content=b"{}\xff\xfe", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/echo", [("inference-header-content-length", "0")]),
        ("/echo", [("content-type", "application/octet-stream")]),
        ("/echo", [("content-type", "application/vnd.kserve+json")]),
        ("/v2/models/small/infer", [("inference-header-content-length", "18")]),
        (
            "/v2/models/small/infer",
            [("inference-header-content-length", "18"), ("inference-header-content-length", "0")],
        ),
        ("/v2/models/small/infer", [("inference-header-content-length", "9" * 5000)]),
    ],
)
async def test_no_header_makes_a_body_that_is_nested_too_deep_pass(client, path, headers):
    assert (await client.post(path, content=DEEP, headers=headers)).status_code == 400


async def test_a_body_that_does_not_arrive_is_408_and_ends_the_connection(app):
    sent = []

    async def never() -> dict:
        await asyncio.Event().wait()

    async def send(message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/echo",
        "headers": [(b"content-length", b"10")],
        "query_string": b"",
    }
    await app({**scope, "client": None, "server": None, "scheme": "http"}, never, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


nested = st.recursive(
    st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)


def depth_of(value) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(nested, st.integers(1, 4))
def test_the_depth_is_that_of_the_value_whatever_its_strings_hold(value, max_depth):
    body = json.dumps(value).encode()
    if depth_of(value) > max_depth:
        with pytest.raises(HTTPException):
            check_json_text(body, max_depth)
    else:
        check_json_text(body, max_depth)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[]," * 300_000,
        b'"' + b'\\"' * 500_000 + b"[" * 99,
        b'"' * 1_000_001 + b"[" * 99,
        b'{"a":' * 200_000,
    ],
    ids=["open", "flat", "one string of escapes", "quotes", "objects"],
)
def test_a_megabyte_made_to_be_slow_is_not(body):
    """In time proportional to it: none of these takes a second, where a quadratic one would take minutes."""
    with contextlib.suppress(HTTPException):
        check_json_text(body, 64)
