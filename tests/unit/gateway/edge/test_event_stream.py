"""Streams to a client that reads, that is slow, that goes away; and unary answers to one that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from starlette.requests import Request

from trident.errors import EngineError, RequestCancelledError
from trident.gateway.edge.event_stream import EventStream, unless_gone

pytestmark = pytest.mark.anyio


class Connection:
    """A client's end: what was sent to it, when it leaves, and whether it reads."""

    def __init__(self, *, heartbeat_s: float = 60.0, write_timeout_s: float = 60.0) -> None:
        self.sent: list[dict] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self.num_closes = 0
        self.aborted = asyncio.Event()
        self._was_sent = asyncio.Event()
        server = SimpleNamespace(heartbeat_s=heartbeat_s, write_timeout_s=write_timeout_s)
        app = SimpleNamespace(state=SimpleNamespace(gateway=SimpleNamespace(config=SimpleNamespace(server=server))))
        self.scope = {"type": "http", "app": app, "state": {"request_id": "id-1"}, "headers": []}
        self.scope["extensions"] = {"trident.abort": self.abort}
        self.request = Request(self.scope, self.receive)

    async def receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        self.sent.append(message)
        self._was_sent.set()
        await self.reads.wait()

    async def until_sent(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            self._was_sent.clear()
            await self._was_sent.wait()

    def abort(self) -> None:
        self.aborted.set()
        self.gone.set()

    async def close(self) -> None:
        self.num_closes += 1

    async def stream(self, events) -> None:
        stream = EventStream(self.request, events, close=self.close, last_event=lambda error: error.message.encode())
        await stream(self.scope, self.receive, self.send)

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_whole(self) -> bool:
        return self.sent[-1]["type"] == "http.response.body" and not self.sent[-1]["more_body"]


async def spoken(*events: bytes, then: Exception | None = None, forever: bool = False):
    for event in events:
        yield event
    if then is not None:
        raise then
    if forever:
        await asyncio.Event().wait()


async def test_events_come_in_order_with_the_headers_that_proxies_need():
    connection = Connection()
    await connection.stream(spoken(b"data: 1\n\n", b"data: 2\n\n"))
    assert connection.text == b"data: 1\n\ndata: 2\n\n"
    headers = dict(connection.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert (headers[b"x-accel-buffering"], headers[b"cache-control"]) == (b"no", b"no-cache")
    assert connection.is_whole


async def test_what_the_request_held_is_given_back_before_its_end_is_seen():
    connection = Connection()
    before_the_end = []

    async def send(message: dict) -> None:
        if message.get("more_body") is False:
            before_the_end.append(connection.num_closes)

    stream = EventStream(connection.request, spoken(b"x"), close=connection.close, last_event=lambda _: b"")
    await stream(connection.scope, connection.receive, send)
    assert before_the_end == [1]


@pytest.mark.parametrize(
    ("exc", "said"),
    [(EngineError("cuda 700"), b"failed"), (KeyError("a prompt"), b"failed")],
    ids=["known", "unexpected"],
)
async def test_a_failure_in_mid_stream_is_a_last_event_without_the_texts_behind_it(exc, said):
    connection = Connection()
    await connection.stream(spoken(b"data: 1\n\n", then=exc))
    assert connection.text.startswith(b"data: 1\n\n")
    assert said in connection.text
    assert b"id-1" in connection.text
    assert b"cuda" not in connection.text
    assert b"prompt" not in connection.text
    assert connection.is_whole
    assert connection.num_closes >= 1


async def test_a_client_that_leaves_ends_the_generation():
    connection = Connection()
    running = asyncio.create_task(connection.stream(spoken(b"data: 1\n\n", forever=True)))
    await connection.until_sent(lambda: len(connection.sent) >= 2)
    connection.gone.set()
    await running
    assert connection.num_closes == 1
    assert not connection.is_whole


async def test_a_stream_that_is_cancelled_gives_back_what_it_held():
    connection = Connection()
    running = asyncio.create_task(connection.stream(spoken(forever=True)))
    await connection.until_sent(lambda: bool(connection.sent))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert connection.num_closes == 1


async def test_while_there_is_nothing_to_say_comments_keep_the_connection_open():
    connection = Connection(heartbeat_s=0.02)
    running = asyncio.create_task(connection.stream(spoken(b"data: 1\n\n", forever=True)))
    await connection.until_sent(lambda: connection.text.count(b": ping\n\n") >= 2)
    connection.gone.set()
    await running


@pytest.mark.parametrize(
    "events", [(b"data: 1\n\n",) * 1000, (b"data: 1\n\n",)], ids=["with an event", "with a comment"]
)
async def test_a_client_that_does_not_read_is_cut_off_and_nothing_piles_up(events):
    connection = Connection(heartbeat_s=0.02, write_timeout_s=0.05)
    stream = asyncio.create_task(connection.stream(spoken(*events, forever=True)))
    await connection.until_sent(lambda: len(connection.sent) >= 2)
    connection.reads.clear()
    await asyncio.wait_for(stream, 5)
    assert connection.aborted.is_set()
    assert connection.num_closes >= 1


async def test_a_unary_answer_is_given():
    async def work() -> int:
        return 7

    assert await unless_gone(Connection().request, work()) == 7


async def test_the_error_of_a_unary_answer_is_given():
    async def work() -> int:
        raise EngineError("failed")

    with pytest.raises(EngineError):
        await unless_gone(Connection().request, work())


async def test_unary_work_is_cancelled_and_cleaned_up_when_its_client_leaves():
    connection, has_begun, was_cancelled = Connection(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    asking = asyncio.create_task(unless_gone(connection.request, work()))
    await has_begun.wait()
    connection.gone.set()
    with pytest.raises(RequestCancelledError):
        await asking
    assert was_cancelled.is_set()
