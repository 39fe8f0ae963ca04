"""Connections that mean harm, against the protocol on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.middleware import Middleware

from trident.gateway.edge import protocol
from trident.gateway.edge.body_bounds import BodyBounds, Bounds
from trident.gateway.edge.envelope import Envelope
from trident.gateway.edge.errors import add_error_handlers
from trident.gateway.edge.event_stream import EventStream
from trident.gateway.edge.protocol import ConnectionBounds, bounded_protocol
from trident.gateway.metrics import Metrics

pytestmark = pytest.mark.anyio
GET = b"GET /small HTTP/1.1\r\nhost: gateway\r\n"


def made_app() -> FastAPI:
    bounds = Bounds(10_000, max_form_bytes=10_000, max_json_depth=8, timeout_s=0.5, form_paths=frozenset({"/small"}))
    app = FastAPI(middleware=[Middleware(Envelope, Metrics()), Middleware(BodyBounds, bounds)])
    app.state.gateway = SimpleNamespace(
        config=SimpleNamespace(server=SimpleNamespace(heartbeat_s=60.0, write_timeout_s=0.3))
    )
    app.state.was_closed = asyncio.Event()
    app.state.num_events = 0
    add_error_handlers(app)

    @app.get("/small")
    async def small() -> str:
        return "answered"

    @app.post("/small")
    async def post(request: Request) -> int:
        return len(await request.body())

    @app.get("/endless")
    async def endless(request: Request) -> EventStream:
        async def events():
            while True:
                app.state.num_events += 1
                yield b"data: " + b"x" * 1000 + b"\n\n"

        async def close() -> None:
            app.state.was_closed.set()

        return EventStream(request, events(), close=close, last_event=lambda _: b"")

    return app


@asynccontextmanager
async def serving(app, max_connections: int = 100, head_s: float = 0.5):
    """The app behind the protocol, on a free port."""
    bounded = bounded_protocol(ConnectionBounds(max_connections, head_s))
    config = uvicorn.Config(app, http=bounded, ws="none", log_config=None, access_log=False, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server._serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await running


async def said_to(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """All that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> dict:
    error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_a_request_is_answered():
    async with serving(made_app()) as port:
        assert b"answered" in await said_to(port, GET + b"connection: close\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"x-%d: 1\r\n" % number for number in range(101)),
        b"x: " + b"a" * 40_000 + b"\r\n",
        b"x: " + b"a" * 3_000_000,
    ],
    ids=["many", "large", "endless"],
)
async def test_a_flood_of_headers_is_431(head):
    async with serving(made_app()) as port:
        answer = await said_to(port, GET, head, b"\r\n")
    assert answer == b"" or (status_of(answer), error_of(answer)["code"]) == (431, "headers_too_large")


async def test_headers_within_the_bounds_pass():
    head = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 300) for number in range(95))
    async with serving(made_app()) as port:
        assert b"answered" in await said_to(port, GET, head, b"connection: close\r\n\r\n")


async def test_what_is_not_http_is_400_with_an_error_object():
    async with serving(made_app()) as port:
        answer = await said_to(port, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert (status_of(answer), error_of(answer)["code"]) == (400, "invalid_value")


@pytest.mark.parametrize("piece", [b"x", b""], ids=["a byte at a time", "nothing"])
async def test_a_head_that_does_not_come_to_its_end_closes_the_connection(piece):
    async with serving(made_app()) as port:
        assert await said_to(port, GET + b"x-slow: ", *[piece] * 12, pause_s=0.1) == b""


async def test_a_body_may_be_larger_than_a_head_and_the_next_request_comes_on_the_same_connection():
    body = b"POST /small HTTP/1.1\r\nhost: gateway\r\ncontent-length: 9000\r\n\r\n" + b"1" * 9000
    async with serving(made_app()) as port:
        answer = await said_to(port, *[body[:5000], body[5000:]] * 9, GET + b"connection: close\r\n\r\n", pause_s=0.01)
    assert answer.count(b" 200 OK") == 10


async def test_empty_lines_between_two_requests_do_not_keep_a_connection_open():
    async with serving(made_app()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"answered")
        with contextlib.suppress(ConnectionError):
            for _ in range(12):
                writer.write(b"\r\n")
                await asyncio.sleep(0.1)
            await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_a_connection_that_says_nothing_is_closed():
    async with serving(made_app()) as port:
        assert await said_to(port) == b""


async def test_a_body_that_does_not_come_to_its_end_is_408():
    async with serving(made_app()) as port:
        answer = await said_to(port, b"POST /small HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n{")
    assert (status_of(answer), error_of(answer)["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(("piece", "is_taken"), [(b"x" * 700, True), (b"x" * 7, False)], ids=["steady", "trickling"])
async def test_a_form_may_take_its_time_as_long_as_it_comes(monkeypatch, piece, is_taken):
    monkeypatch.setattr(protocol, "_GRACE_S", 0.0)
    monkeypatch.setattr(protocol, "_MIN_BODY_RATE", 1000)
    head = b"POST /small HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-type: multipart/form-data\r\n"
    length = b"content-length: %d\r\n\r\n" % (10 * len(piece))
    async with serving(made_app(), head_s=0.5) as port:
        answer = await said_to(port, head + length, *[piece] * 10, pause_s=0.1)
    assert (answer != b"") == is_taken
    assert answer.endswith(b"7000") == is_taken


async def test_a_connection_may_idle_between_two_requests_longer_than_a_head_may_take():
    async with serving(made_app(), head_s=0.3) as port:
        answer = await said_to(port, GET + b"\r\n", GET + b"connection: close\r\n\r\n", pause_s=0.5)
    assert answer.count(b"answered") == 2


async def test_pipelined_requests_are_answered_in_order():
    async with serving(made_app()) as port:
        answer = await said_to(port, (GET + b"\r\n") * 5 + GET + b"connection: close\r\n\r\n")
    assert answer.count(b"answered") == 6


async def test_connections_beyond_the_bound_are_told_so_and_the_others_go_on():
    async with serving(made_app(), max_connections=2) as port:
        kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        answer = await said_to(port)
        assert (status_of(answer), error_of(answer)["code"]) == (503, "overloaded")
        kept[0][1].write(GET + b"connection: close\r\n\r\n")
        assert b"answered" in await kept[0][0].read()
        for _, writer in kept:
            writer.close()


async def test_a_client_that_does_not_read_is_cut_off_with_what_was_written_to_it():
    """Neither the generation nor the connection outlives the write timeout, and no more than buffers is made."""
    app = made_app()
    async with serving(app) as port:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /endless HTTP/1.1\r\nhost: gateway\r\n\r\n")
        await asyncio.wait_for(app.state.was_closed.wait(), 10)
        made = app.state.num_events
        await asyncio.sleep(0.1)
        assert app.state.num_events == made < 20_000  # of a kilobyte; the kernel's own buffers are most of it
        client.close()
