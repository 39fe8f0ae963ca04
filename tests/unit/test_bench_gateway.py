"""The measuring client of `trident bench gateway`: what it counts, and that nothing which went wrong is counted."""

import asyncio

import pytest

from trident.bench.gateway import Round, median_side
from trident.bench.sse_client import chat_request, open_chat, run_sse_client
from trident.bench.stream_client import Workload
from trident.errors import EngineError, UnavailableError

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'] * 3
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":%d}}\n\n'
DONE = b"data: [DONE]\n\n"


def chunked(*bodies):
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


async def ask(answer, cut=None):
    """One chat of a server that answers so, in pieces of `cut` bytes."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(answer), cut or len(answer)):
            writer.write(answer[start : start + (cut or len(answer))])
            await asyncio.sleep(0)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        stream = await open_chat(port, chat_request(port, "m", "Hello", 3))
        try:
            await stream.ended
            return stream, stream.num_tokens()
        finally:
            stream.close()


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_events_and_tokens_are_counted_wherever_the_answer_was_cut(cut):
    """An event that comes in two pieces is one."""
    stream, num_tokens = asyncio.run(ask(chunked(*EVENTS, USAGE % 3, DONE), cut))
    assert (stream.num_events, num_tokens) == (4, 3)
    assert stream.arrivals == sorted(stream.arrivals)
    assert stream.sent <= stream.arrivals[0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HEAD + EVENTS[0], UnavailableError),
        (chunked(*EVENTS), EngineError),
        (chunked(EVENTS[0], b'data: {"error":{"message":"out of memory"}}\n\n'), EngineError),
        (b"HTTP/1.1 404 X\r\ncontent-length: 5\r\n\r\nno\r\n0\r\n\r\n", EngineError),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error(answer, error):
    """Broken off, without a count, failed in its midst, refused."""
    with pytest.raises(error):
        asyncio.run(ask(answer))


def test_a_client_that_finds_nobody_says_so():
    """In the words of its last line."""
    with pytest.raises(EngineError, match="cannot be reached"):
        run_sse_client(9, "m", Workload(1, 2, 1, 0))


def test_a_side_is_the_medians_of_its_rounds_over_grpcs():
    """Ratios of medians, and the CPU of a chunk from each round's own counts."""
    direct = [Round(1000, 10), Round(2000, 12), Round(1500, 11)]
    side = median_side(
        [Round(900, 12, 100, 0.02, 2.0), Round(1200, 14, 100, 0.01, 1.0), Round(2000, 13, 50, 0.01, 1.0)], direct
    )
    assert (side.tokens_per_s, side.ttft_p50_ms) == (1200, 13)
    assert side.added_ttft_p50_ms == 2
    assert side.throughput_ratio == pytest.approx(0.8)
    assert side.cpu_ms_per_chunk == pytest.approx(0.2)
    assert side.chunks_per_s == 50
