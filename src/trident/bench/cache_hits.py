"""How long a hit takes at a gateway of its own, before a real engine: exact and semantic ones in turn.

Whole answers over one connection, one at a time, from the request to its last byte.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from trident.bench.gateway_processes import MODEL, started_gateway
from trident.bench.workload import percentile
from trident.errors import EngineError
from trident.server.running import Server

_EXACT = "What is the capital of France? Answer in one word."  # small models end their answer
_SEMANTIC = "Tell me the capital of France. Answer in one word."
_MAX_TOKENS = 64
_PAUSE_S = 0.02
_PATIENCE_S = 60.0  # until the engine is known to the gateway and its answer was kept
_CONFIG = (
    "[models.embedding]", "deployments = { triton = 1 }", 'operation = "embeddings"',
    "[cache]", "enabled = true",
    "[cache.semantic]", "enabled = true", 'model = "embedding"', "verify_fraction = 0.0", "timeout_s = 1.0",
)  # fmt: skip


def measure(server: Server, num_requests: int, report: Callable[[str], None]) -> dict[str, float]:
    """Milliseconds of exact and of semantic hits, `num_requests` of each.

    Args:
        server: it serves an embedding model too.
        num_requests: at least 1.
        report: told what is done.

    Raises:
        EngineError: a question is not answered as it has to be.
        UnavailableError: the gateway does not start.
    """
    taken: dict[str, list[float]] = {"exact": [], "semantic": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trident-cache-")))
        gateway = stack.enter_context(started_gateway(server, folder, _CONFIG))
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=_PATIENCE_S)
        stack.callback(connection.close)
        questions = {"exact": _EXACT, "semantic": _SEMANTIC}
        for how, question in questions.items():
            _until(connection, question, how)
        report(f"{num_requests} hits of each kind")
        for _ in range(num_requests):
            for how, question in questions.items():
                time.sleep(_PAUSE_S)
                found, milliseconds = _ask(connection, question)
                if found != how:
                    raise EngineError(f"the cache answered '{found}' in place of '{how}'")
                taken[how].append(milliseconds)
    return {
        f"{how}_hit_p{rank}_ms": percentile(milliseconds, rank)
        for how, milliseconds in taken.items()
        for rank in (50, 99)
    }


def _until(connection: http.client.HTTPConnection, question: str, how: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    found = ""
    while time.monotonic() < deadline:
        found, _ = _ask(connection, question)
        if found == how:
            return
        time.sleep(10 * _PAUSE_S)
    raise EngineError(f"the cache answers '{found}' and never '{how}'; the engine's answer may not end by itself")


def _ask(connection: http.client.HTTPConnection, question: str) -> tuple[str, float]:
    """How the cache answered, and milliseconds."""
    messages = [{"role": "user", "content": question}]
    body = json.dumps({"model": MODEL, "messages": messages, "max_tokens": _MAX_TOKENS, "temperature": 0})
    start = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    milliseconds = 1000 * (time.perf_counter() - start)
    if answer.status != 200:
        raise EngineError(f"the gateway answered {answer.status}: {text[:300].decode('utf-8', 'replace')}")
    return answer.headers.get("x-trident-cache", ""), milliseconds
