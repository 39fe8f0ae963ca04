"""What goes wrong between client and server, over every protocol and face: each is one typed end, and never a hang."""

import asyncio
import socket
import time

import pytest
from tritonclient.grpc import service_pb2

from trident.errors import (
    AuthenticationError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    RequestCancelledError,
    SettingsError,
    UnavailableError,
)
from trident_client import AsyncClient, Client, Connection, Retry
from trident_client.protobuf_format import new_decoders, to_delta
from trident_client.sync_stream import READ_AHEAD

from .conftest import AsyncFace, SyncFace
from .repositories import NVIDIA
from .scripted_server import Hang, Refuse, Say, Vanish

ALL = 10**6
QUICK = Retry(first_wait_s=0.01)
TRIDENT = {**NVIDIA, "output": [*NVIDIA["output"], {"name": "finish_reason", "data_type": "TYPE_STRING", "dims": [1]}]}


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request, url, protocol):
    """A client of this face and protocol, with options."""
    return lambda **options: request.param(url, protocol, **{"retry": QUICK, **options})


# Responses that are not as they should be


def test_a_response_after_the_last_of_its_sequence_is_dropped(face, server):
    server.script = [Say("a"), Say("b", "stop", is_final=False), Say("late", is_final=True)]
    deltas, _ = face().take(ALL, "Hi")
    assert [delta.text for delta in deltas] == ["a", "b"]


def test_sequences_end_by_themselves_whatever_the_order(face, server):
    index = [{"sequence_index": number} for number in range(2)]
    server.script = [
        Say("x", counts=index[1]), Say("a", counts=index[0]), Say("y", "stop", index[1], is_final=False),
        Say("late", counts=index[1]), Say("b", "length", index[0], is_final=True),
    ]  # fmt: skip
    completion = face().generate("Hi", num_return_sequences=2)
    assert (completion.text, completion.finish_reason) == ("ab", "length")
    assert [(other.text, other.finish_reason) for other in completion.others] == [("xy", "stop")]


def test_a_stream_that_ends_in_good_order_but_without_its_end_is_not_whole(face, server):
    server.configs["ensemble"] = TRIDENT
    server.script = [Say("a"), Say("b", is_final=True)]
    with pytest.raises(UnavailableError, match="the stream ended without a finish reason"):
        face().take(ALL, "Hi")


def test_a_response_to_another_request_is_dropped(server):
    server.script = [Say("a"), Say("not mine", for_request="somebody else"), Say("b", "stop")]
    with Client(server.grpc_url) as client:
        assert client.generate("Hi").text == "ab"


def test_a_body_cut_inside_an_event_is_not_whole(server):
    server.script = [Say("a"), Say(b'"')]  # the JSON ends in the middle
    with Client(server.http_url, "http") as client, pytest.raises(UnavailableError, match="does not answer as Triton"):
        list(client.stream("Hi"))


def test_an_output_of_another_form_is_said_to_be_so():
    message = service_pb2.ModelInferResponse()
    message.outputs.add(name="acceptance_rate", datatype="FP32")
    message.raw_output_contents.append(b"\x00")
    with pytest.raises(ValueError, match="another form than its name says"):
        to_delta(message, new_decoders())


def test_a_server_that_vanishes_without_a_word_is_noticed(server):
    server.script = [Say("a"), Vanish()]
    connection = Connection(keepalive_s=0.3, keepalive_timeout_s=0.3)
    with Client(server.grpc_url, connection=connection) as client:
        stream = client.stream("Hi")
        assert next(stream).text == "a"
        with pytest.raises(UnavailableError, match="went away in mid-answer"):
            next(stream)
        assert stream.state == "failed"


@pytest.mark.parametrize("closed", ["stream", "client"])
def test_a_task_that_reads_ends_when_another_closes(server, url, protocol, closed):
    """It is not cancelled for that: nobody cancelled it."""
    server.script = [Say("a"), Hang()]

    async def run():
        client = AsyncClient(url, protocol)
        stream = client.stream("Hi")
        await anext(stream)
        reader = asyncio.create_task(anext(stream, "the end"))
        await asyncio.sleep(0.05)
        await (stream.aclose() if closed == "stream" else client.close())
        (end,) = await asyncio.gather(reader, return_exceptions=True)
        await stream.aclose()
        await client.close()
        return end, stream.state

    end, state = asyncio.run(asyncio.wait_for(run(), 10))
    if closed == "stream":
        assert (end, state) == ("the end", "cancelled")
    else:
        assert isinstance(end, (UnavailableError, RequestCancelledError))
        assert state == "failed"


# Bounds


def test_a_slow_reader_holds_the_server_up(server, url, protocol):
    """Of 64 MB of answer only what the sockets and a few deltas hold is sent while nobody reads."""
    text = "x" * 100_000
    server.script = [Say(text) for _ in range(640)] + [Say("", "stop")]
    with Client(url, protocol) as client, client.stream("Hi") as stream:
        next(stream)
        before = -1
        while server.num_sent != before:  # until it stands still
            before = server.num_sent
            time.sleep(0.3)
        assert before < READ_AHEAD + 300
        assert sum(len(delta.text) for delta in stream) == 639 * len(text)


@pytest.mark.parametrize("prompt", ["Hi", "x" * 20_000], ids=["received", "sent"])
def test_a_message_beyond_the_limit_is_refused_with_what_to_do(server, prompt):
    server.script = [Say("y" * 20_000, "stop")]
    with (
        Client(server.grpc_url, connection=Connection(max_message_bytes=10_000)) as client,
        pytest.raises(InvalidRequestError, match=r"larger than max.*raise the limit"),
    ):
        client.generate(prompt)


# Who asks


def test_headers_and_the_api_key_go_with_every_request(face, server):
    server.script = [Say("", "stop")]
    face(connection=Connection(headers={"X-Team": "blue"}, api_key="s3cret")).generate("Hi")
    headers = server.requests[0]["headers"]
    assert (headers["x-team"], headers["authorization"]) == ("blue", "Bearer s3cret")


def test_secrets_are_not_printed():
    assert "s3cret" not in repr(Connection(headers={"authorization": "s3cret"}, api_key="s3cret"))


def test_a_header_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="header 'x-team' is not printable ASCII"):
        Client("127.0.0.1:1", connection=Connection(headers={"X-Team": "a\r\nb"}))


@pytest.mark.parametrize(
    ("step", "leaf"),
    [
        (Refuse("UNAUTHENTICATED", 401, "no such key"), AuthenticationError),
        (Refuse("PERMISSION_DENIED", 403, "not this model"), PermissionDeniedError),
        (Refuse("RESOURCE_EXHAUSTED", 429, "slow down"), RateLimitError),
        (Refuse("RESOURCE_EXHAUSTED", 429, "the daily budget of 5 does not hold this"), QuotaError),
        (Refuse("UNAVAILABLE", 502, "bad gateway"), UnavailableError),
    ],
)
def test_a_gateway_s_refusals_are_typed(face, server, step, leaf):
    server.script = [step]
    with pytest.raises(leaf, match=step.text):
        face(retry=Retry(0)).generate("Hi")


# Several servers


def test_a_server_that_is_gone_is_passed_over(face, server, url, protocol):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"127.0.0.1:{unused.getsockname()[1]}"
        server.script = [Say("a", "stop")]
        with Client([gone, url], protocol, retry=QUICK) as client:
            assert [client.generate("Hi").text for _ in range(8)] == ["a"] * 8
            assert {each.url: each.is_ready for each in client.health()} == {gone: False, url: True}
            assert client.is_ready()


def test_no_address_is_refused():
    with pytest.raises(InvalidRequestError, match="at least"):
        Client([])
