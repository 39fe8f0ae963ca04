"""What the client costs for each response of a stream: `trident_client` beside bare tritonclient, in the same run.

    python -m trident.bench.client WAY GRPC_URL HTTP_URL WORKLOAD_JSON

Each way of asking is a process of its own, so that its CPU time is its own; it prints one JSON object, a `Cost`.
tritonclient has no `generate_stream`, so HTTP stands alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from trident.bench.workload import prompts
from trident.contract import ENSEMBLE
from trident.errors import EngineError

WAYS = ("tritonclient_aio", "trident_async", "tritonclient", "trident_sync", "trident_async_http")


@dataclass(frozen=True)
class ClientWorkload:
    """What every way asks for."""

    streams: int  # at once
    max_tokens: int  # of each; EOS is ignored
    prompt_words: int = 16


@dataclass(frozen=True)
class Cost:
    """Of one run."""

    num_responses: int
    text_bytes: int  # in all, which the ways have to agree on
    cpu_s: float


@dataclass(frozen=True)
class ClientFigures:
    """Medians over the rounds."""

    cpu_us_per_response: dict[str, float]  # by way
    overhead_async_us: float  # AsyncClient over tritonclient.grpc.aio
    overhead_sync_us: float  # Client over tritonclient.grpc
    responses: int  # of one run


def measure(
    grpc_url: str, http_url: str, workload: ClientWorkload, repeats: int, report: Callable[[str], None]
) -> ClientFigures:
    """Each way in turn, `repeats` times; a first round is not counted.

    Raises:
        EngineError: a way failed, or got another text than the others.
    """
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    num_responses = 0
    for repeat in range(-1, repeats):
        costs = {way: _run(way, grpc_url, http_url, workload) for way in WAYS}
        if len({cost.text_bytes for cost in costs.values()}) > 1:
            raise EngineError(f"the answers differ: { ({way: cost.text_bytes for way, cost in costs.items()}) }")
        if repeat < 0:
            continue
        for way, cost in costs.items():
            taken[way].append(1e6 * cost.cpu_s / cost.num_responses)
        num_responses = costs[WAYS[0]].num_responses
        shown = ", ".join(f"{way} {values[-1]:.0f}" for way, values in taken.items())
        report(f"round {repeat + 1}: {shown} µs/response")
    cpu_us = {way: statistics.median(values) for way, values in taken.items()}
    return ClientFigures(
        cpu_us,
        statistics.median(_differences(taken["trident_async"], taken["tritonclient_aio"])),
        statistics.median(_differences(taken["trident_sync"], taken["tritonclient"])),
        num_responses,
    )


def _differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [mine - other for mine, other in zip(ours, theirs, strict=True)]


def _run(way: str, grpc_url: str, http_url: str, workload: ClientWorkload) -> Cost:
    command = [sys.executable, "-m", __name__, way, grpc_url, http_url, json.dumps(dataclasses.asdict(workload))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = (ended.stderr.strip() or "it said nothing").splitlines()[-1]
        raise EngineError(f"the client {way} failed: {reason}")
    return Cost(**json.loads(ended.stdout))


# In the process of one way. Each reads every response's text, and nothing else of it.

Count = tuple[int, int]  # responses, bytes of text
Parameters = dict[str, Any]


def _parameters(workload: ClientWorkload) -> Parameters:
    return {"max_tokens": workload.max_tokens, "end_id": -1}


def _texts(workload: ClientWorkload) -> list[str]:
    return prompts(workload.streams, workload.prompt_words, seed=0)


def _trident_async(url: str, protocol: Any, workload: ClientWorkload) -> Count:
    from trident_client import AsyncClient, Retry  # noqa: PLC0415 - each process loads its own client only

    async def one(client: AsyncClient, text: str) -> Count:
        count, size = 0, 0
        async with client.stream(text, **_parameters(workload)) as stream:
            async for delta in stream:
                count, size = count + 1, size + len(delta.text.encode())
        return count, size

    async def ask() -> Count:
        async with AsyncClient(url, protocol, retry=Retry(0)) as client:
            return _sum(await asyncio.gather(*[one(client, text) for text in _texts(workload)]))

    return asyncio.run(ask())


def _trident_sync(url: str, workload: ClientWorkload) -> Count:
    from trident_client import Client, Retry  # noqa: PLC0415

    def one(client: Client, text: str) -> Count:
        with client.stream(text, **_parameters(workload)) as stream:
            sizes = [len(delta.text.encode()) for delta in stream]
        return len(sizes), sum(sizes)

    with Client(url, retry=Retry(0)) as client, ThreadPoolExecutor(workload.streams) as threads:
        return _sum(threads.map(lambda text: one(client, text), _texts(workload)))


def _bare_inputs(module: Any, text: str, workload: ClientWorkload) -> list[Any]:
    import numpy as np  # noqa: PLC0415

    values = {
        "text_input": ("BYTES", np.array([[text]], object)),
        "max_tokens": ("INT32", np.array([[workload.max_tokens]], np.int32)),
        "end_id": ("INT32", np.array([[-1]], np.int32)),
        "stream": ("BOOL", np.array([[True]])),
        "exclude_input_in_output": ("BOOL", np.array([[True]])),
    }
    inputs = []
    for name, (dtype, array) in values.items():
        tensor = module.InferInput(name, [1, 1], dtype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return inputs


def _size(result: Any, error: Any) -> int | None:
    """Bytes of a response's text; None: it has none."""
    if error is not None:
        raise EngineError(str(error))
    text = result.as_numpy("text_output")
    return None if text is None else len(text[0])


def _tritonclient_aio(url: str, workload: ClientWorkload) -> Count:
    import tritonclient.grpc.aio as triton  # noqa: PLC0415

    async def asked(text: str) -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": ENSEMBLE.name, "inputs": _bare_inputs(triton, text, workload)}

    async def one(client: Any, text: str) -> Count:
        count, size = 0, 0
        async for result, error in client.stream_infer(asked(text)):
            if (found := _size(result, error)) is not None:
                count, size = count + 1, size + found
        return count, size

    async def ask() -> Count:
        async with triton.InferenceServerClient(url) as client:
            return _sum(await asyncio.gather(*[one(client, text) for text in _texts(workload)]))

    return asyncio.run(ask())


def _tritonclient(url: str, workload: ClientWorkload) -> Count:
    import tritonclient.grpc as triton  # noqa: PLC0415

    def one(text: str) -> Count:
        arrived: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
        count, size, is_final = 0, 0, False
        with triton.InferenceServerClient(url) as client:  # which has one stream
            client.start_stream(lambda result, error: arrived.put((result, error)))
            client.async_stream_infer(
                ENSEMBLE.name, _bare_inputs(triton, text, workload), enable_empty_final_response=True
            )
            while not is_final:
                result, error = arrived.get()
                if (found := _size(result, error)) is not None:
                    count, size = count + 1, size + found
                is_final = result.get_response().parameters["triton_final_response"].bool_param
        return count, size

    with ThreadPoolExecutor(workload.streams) as threads:
        return _sum(threads.map(one, _texts(workload)))


def _sum(counts: Any) -> Count:
    pairs = list(counts)
    return sum(count for count, _ in pairs), sum(size for _, size in pairs)


def _ask(way: str, grpc_url: str, http_url: str, workload: ClientWorkload) -> Count:
    ways: dict[str, Callable[[], Count]] = {
        "tritonclient_aio": lambda: _tritonclient_aio(grpc_url, workload),
        "trident_async": lambda: _trident_async(grpc_url, "grpc", workload),
        "tritonclient": lambda: _tritonclient(grpc_url, workload),
        "trident_sync": lambda: _trident_sync(grpc_url, workload),
        "trident_async_http": lambda: _trident_async(http_url, "http", workload),
    }
    return ways[way]()


def _main(way: str, grpc_url: str, http_url: str, workload: ClientWorkload) -> Cost:
    # The libraries are loaded and the connection is tried before the clock starts.
    _ask(way, grpc_url, http_url, dataclasses.replace(workload, streams=1, max_tokens=2))
    start = time.process_time()
    count, size = _ask(way, grpc_url, http_url, workload)
    return Cost(count, size, time.process_time() - start)


if __name__ == "__main__":
    found = _main(sys.argv[1], sys.argv[2], sys.argv[3], ClientWorkload(**json.loads(sys.argv[4])))
    print(json.dumps(dataclasses.asdict(found)))  # noqa: T201 - the answer
