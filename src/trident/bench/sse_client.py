"""The measuring client of `trident bench gateway`: chats streamed as server-sent events, as cheaply as can be.

    python -m trident.bench.sse_client PORT MODEL WORKLOAD_JSON

Prints one JSON object, an SseRun. It counts events and looks at none but the last, because it shares its cores with
what it measures. `open_chat` is one such stream, for latencies.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass

from trident.bench.stream_client import Workload
from trident.bench.workload import Run, prompts
from trident.errors import EngineError, UnavailableError

_HOST = "127.0.0.1"
_TIMEOUT_S = 300.0  # of a whole run
_EVENT = b"data: {"
_TAIL_BYTES = 2048  # more than the last events have
_USAGE = re.compile(rb'"completion_tokens": ?(\d+)')


@dataclass(frozen=True)
class SseRun:
    """What came of a run."""

    run: Run
    num_events: int
    num_tokens: int  # as the server counted them
    cpu_s: float  # of the client, from the first request to the last event


class ChatStream(asyncio.Protocol):
    """One chat on a connection of its own. `ended` is set when the server has sent the end of its answer."""

    def __init__(self, request: bytes) -> None:
        self.sent = 0.0
        self.arrivals: list[float] = []  # of each piece that brought events
        self.num_events = 0
        self.ended = asyncio.get_running_loop().create_future()
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._rest = b""  # the end of what came

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type alone
        self._transport = transport
        self.sent = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count."""
        whole = self._rest + data
        if found := whole.count(_EVENT) - self._rest.count(_EVENT):
            self.arrivals.append(time.perf_counter())
            self.num_events += found
        self._rest = whole[-_TAIL_BYTES:]
        if whole.endswith(b"0\r\n\r\n") and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Before the end, if nobody closed it."""
        if not self.ended.done():
            self.ended.set_exception(UnavailableError(f"it broke off a response ({exc or 'closed'})"))

    def close(self) -> None:
        """Give the connection up."""
        self.ended.cancel()
        if self._transport is not None:
            self._transport.abort()

    def num_tokens(self) -> int:
        """Of the completion, as the last event says.

        Raises:
            EngineError: the server refused the request, or told of a failure.
        """
        found = _USAGE.findall(self._rest)
        if not found:
            raise EngineError(f"it answered with an error: {self._rest.decode('utf-8', 'replace')[-300:]}")
        return int(found[-1])


def chat_request(port: int, model: str, text: str, max_tokens: int) -> bytes:
    """An HTTP/1.1 request for a streamed chat of one message."""
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def open_chat(port: int, request: bytes) -> ChatStream:
    """Connect and ask.

    Raises:
        UnavailableError: nobody listens there.
    """
    loop = asyncio.get_running_loop()
    try:
        _, stream = await loop.create_connection(lambda: ChatStream(request), _HOST, port)
    except OSError as exc:
        raise UnavailableError(f"port {port} cannot be reached: {exc.strerror}") from exc
    return stream


def run_sse_client(port: int, model: str, workload: Workload) -> SseRun:
    """One run in a process of its own.

    Raises:
        EngineError: it failed; the last line that it wrote says why.
    """
    command = [sys.executable, "-m", __name__, str(port), model, json.dumps(dataclasses.asdict(workload))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = (ended.stderr.strip() or "it said nothing").splitlines()[-1]
        raise EngineError(f"the measuring client failed: {reason}")
    values = json.loads(ended.stdout)
    return SseRun(Run(**values["run"]), values["num_events"], values["num_tokens"], values["cpu_s"])


async def _run(port: int, model: str, workload: Workload) -> SseRun:
    texts = prompts(workload.streams, workload.prompt_words, workload.seed)
    requests = [chat_request(port, model, text, workload.max_tokens) for text in texts]
    start, start_cpu = time.perf_counter(), time.process_time()
    streams = await asyncio.gather(*[open_chat(port, request) for request in requests])
    try:
        await asyncio.wait_for(asyncio.gather(*[stream.ended for stream in streams]), _TIMEOUT_S)
    finally:
        for stream in streams:
            stream.close()
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    num_tokens = sum(stream.num_tokens() for stream in streams)
    arrivals = [[time_s - start for time_s in stream.arrivals] for stream in streams]
    asked = workload.streams * workload.max_tokens
    run = Run(wall_s, asked, arrivals, [stream.sent - start for stream in streams])
    return SseRun(run, sum(stream.num_events for stream in streams), num_tokens, cpu_s)


if __name__ == "__main__":
    answer = asyncio.run(_run(int(sys.argv[1]), sys.argv[2], Workload(**json.loads(sys.argv[3]))))
    print(json.dumps(dataclasses.asdict(answer)))  # noqa: T201 - the answer
