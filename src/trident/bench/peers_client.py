"""The measuring client for peers: OpenAI completions, streamed as server-sent events over HTTP/1.1.

By hand on asyncio, because it shares two cores with the server that it measures: a general HTTP client takes more CPU
for an event than some peers do. One connection for each request. Of an event it looks at the text, the finish reason
and the usage only. It does not know which peer it talks to.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from trident.bench.workload import Run
from trident.errors import EngineError, UnavailableError

_HOST = "127.0.0.1"
_TIMEOUT_S = 300.0  # of a whole run
_MAX_LINE_BYTES = 1 << 20  # of an error's body as well


async def run_peer(
    port: int, texts: Sequence[str], max_tokens: int, fields: Mapping[str, Any], timeout_s: float = _TIMEOUT_S
) -> Run:
    """Complete all texts at once, one connection each.

    Args:
        port: of the peer, on this machine.
        texts: the prompts.
        max_tokens: of each completion; exactly so many must come.
        fields: of the request's body, beside the prompt and `max_tokens`.
        timeout_s: of the whole run.

    Raises:
        EngineError: the peer refused a request, or answered with another number of tokens.
        UnavailableError: it cannot be reached, went away, or took too long.
    """
    start = time.perf_counter()
    bodies = [{**fields, "prompt": text, "max_tokens": max_tokens, "stream": True} for text in texts]
    tasks = [asyncio.create_task(_timed_completion(port, body, start)) for body in bodies]
    try:
        streams = await asyncio.wait_for(asyncio.gather(*tasks), timeout_s)
    except asyncio.TimeoutError as exc:  # from Python 3.11 on an OSError as well
        raise UnavailableError(f"no end of {len(texts)} streams within {timeout_s:g} s") from exc
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as exc:
        raise UnavailableError(f"it broke off a response ({type(exc).__name__}: {exc})") from exc
    finally:
        for task in tasks:  # when one fails, gather leaves the others running
            task.cancel()
    wall_s = time.perf_counter() - start
    return Run(wall_s, max_tokens * len(texts), [times for _, times in streams], [sent for sent, _ in streams])


async def _timed_completion(port: int, body: Mapping[str, Any], start: float) -> tuple[float, list[float]]:
    """When it was sent and when its events with text came, in seconds after `start`."""
    reader, writer = await asyncio.open_connection(_HOST, port, limit=_MAX_LINE_BYTES)
    try:
        content = json.dumps(body).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Type: application/json\r\n"
        sent = time.perf_counter() - start
        writer.write(f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)
        arrivals, num_tokens = [], None
        async for event in _events(reader):
            if "error" in event:
                raise EngineError(f"it answered with an error: {event['error']}")
            if any(choice.get("text") or choice.get("finish_reason") for choice in event.get("choices", ())):
                arrivals.append(time.perf_counter() - start)
            num_tokens = (event.get("usage") or {}).get("completion_tokens", num_tokens)
    finally:
        writer.close()
    if num_tokens != body["max_tokens"] or not arrivals:
        raise EngineError(f"a stream ended after {num_tokens} of {body['max_tokens']} tokens")
    return sent, arrivals


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects after `data:`, until `[DONE]` or the end of the body."""
    rest = b""
    async for piece in _body(reader):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)


async def _body(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a response's body as they come (RFC 9112, 7.1: chunked, or until the connection closes)."""
    status = (await reader.readuntil(b"\r\n")).decode("latin-1").strip()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if status.split()[1:2] != ["200"]:
        raise EngineError(f"it refused a request: {status}: {(await reader.read(500)).decode(errors='replace')}")
    if "transfer-encoding: chunked" not in head:
        while piece := await reader.read(1 << 16):
            yield piece
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
