"""What the gateway costs: chats through its SSE endpoint beside the same chats over gRPC to Triton itself, in turn.

A simulated engine answers, so the figures are the gateway's and not a model's. The gateway is a process of its own; of
it, only its configuration file and OpenAI's API are known here. LiteLLM's proxy, if it is given, stands before the
same Triton by its own `triton` provider, and gets the same chats.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from trident.bench.cpu_time import machine_cpu_s, process_cpu_s
from trident.bench.gateway_processes import GATEWAY, LITELLM, MODEL, started_gateway, started_litellm
from trident.bench.peers_process import PeerProcess
from trident.bench.sse_client import chat_request, open_chat, run_sse_client
from trident.bench.stream_client import Workload, run_client
from trident.bench.workload import percentile, prompts
from trident.contract import ENSEMBLE
from trident.errors import EngineError, TridentError, UnavailableError
from trident.server.running import Server
from trident_client.protobuf_format import to_message
from trident_client.request import build_request
from trident_client.sampling import Sampling

_LATENCY_TOKENS = 4
_WARM_LATENCIES = 5
_PAUSE_S = 0.05  # between two requests of which the latency is measured


@dataclass(frozen=True)
class SideFigures:
    """Of one way to the same server; medians of the rounds."""

    tokens_per_s: float
    ttft_p50_ms: float  # of one request at a time
    added_ttft_p50_ms: float = 0.0  # over gRPC to Triton
    throughput_ratio: float = 1.0  # likewise
    chunks_per_s: float = 0.0  # events
    cpu_ms_per_chunk: float = 0.0  # of this side's process alone
    client_cores: float = 0.0


@dataclass(frozen=True)
class Round:
    """What one round of one way came to."""

    tokens_per_s: float
    ttft_ms: float
    num_events: int = 0
    cpu_s: float = 0.0
    wall_s: float = 1.0
    client_cpu_s: float = 0.0


def measure(
    server: Server,
    workload: Workload,
    num_latencies: int,
    repeats: int,
    litellm: str | None,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """The gateway's figures, those of gRPC alone under "direct", and LiteLLM's, if it can be measured.

    Args:
        server: of a simulated engine.
        workload: of each round's throughput.
        num_latencies: requests one after the other of which the median time to the first token is taken.
        repeats: rounds; a short one before them warms up.
        litellm: its command.
        report: told of each round.

    Raises:
        TridentError: the gateway does not start, or a client failed.
    """
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trident-gateway-")))
        processes = {GATEWAY: stack.enter_context(started_gateway(server, folder))}
        if litellm is not None:
            try:
                processes[LITELLM] = stack.enter_context(started_litellm(litellm, server, folder))
            except TridentError as exc:
                left_out[LITELLM] = exc.message
        rounds, other_cores = _rounds(server, processes, workload, num_latencies, repeats, left_out, report)
    for name, reason in left_out.items():
        report(f"{name} is left out: {reason}")
    sides = {
        name: median_side(each, rounds["direct"]) for name, each in rounds.items() if each and name not in left_out
    }
    gateway = sides.pop(GATEWAY)
    return {
        **dataclasses.asdict(gateway),
        "other_cores": other_cores,  # taken by everything else on this machine
        **{name: dataclasses.asdict(side) for name, side in sides.items()},
    }


def _rounds(
    server: Server,
    processes: Mapping[str, PeerProcess],
    workload: Workload,
    num_latencies: int,
    repeats: int,
    left_out: dict[str, str],
    report: Callable[[str], None],
) -> tuple[dict[str, list[Round]], float]:
    """Of each way, and the median of the cores that everything else took; the first round is short and not counted."""
    warm_up = dataclasses.replace(workload, max_tokens=min(50, workload.max_tokens))
    _round(server, processes, warm_up, _WARM_LATENCIES, left_out)
    rounds: dict[str, list[Round]] = {name: [] for name in ("direct", *processes)}
    other_cores = []
    for repeat in range(1, repeats + 1):
        given = dataclasses.replace(workload, seed=workload.seed + repeat)
        found, others = _round(server, processes, given, num_latencies, left_out)
        other_cores.append(others)
        for name, each in found.items():
            rounds[name].append(each)
        rates = ", ".join(f"{name} {each.tokens_per_s:.0f}" for name, each in found.items())
        first = ", ".join(f"{name} {each.ttft_ms:.1f}" for name, each in found.items())
        report(f"round {repeat}: tokens/s: {rates}; TTFT ms: {first}")
    return rounds, statistics.median(other_cores)


def _round(
    server: Server,
    processes: Mapping[str, PeerProcess],
    workload: Workload,
    num_latencies: int,
    left_out: dict[str, str],
) -> tuple[dict[str, Round], float]:
    ports = {name: process.port for name, process in processes.items() if name not in left_out}
    ttft = asyncio.run(_latencies(server.grpc_url, ports, num_latencies, workload, left_out))
    direct = run_client(server.grpc_url, workload)
    rate, wall_s = direct.run.num_tokens / direct.run.wall_s, direct.run.wall_s
    found = {"direct": Round(rate, ttft["direct"], client_cpu_s=direct.cpu_s, wall_s=wall_s)}
    other_cores = 0.0
    for name, port in ports.items():
        if name in left_out:
            continue
        pids = [processes[name].pid, *_server_pids(server)]
        start, before, machine, children = time.perf_counter(), _cpu_s(pids), machine_cpu_s(), sum(os.times()[2:4])
        try:
            ran = run_sse_client(port, MODEL, workload)
            if name == GATEWAY and ran.num_tokens != ran.run.num_tokens:  # LiteLLM does not know how many there were
                raise EngineError(f"{ran.num_tokens} of {ran.run.num_tokens} tokens came")
        except TridentError as exc:
            if name == GATEWAY:
                raise
            left_out[name] = exc.message
            continue
        taken = [now - then for now, then in zip(_cpu_s(pids), before, strict=True)]
        cpu_s = taken[0]
        if name == GATEWAY:
            others_s = machine_cpu_s() - machine - sum(taken) - (sum(os.times()[2:4]) - children)
            other_cores = max(0.0, others_s) / (time.perf_counter() - start)
        found[name] = Round(
            ran.run.num_tokens / ran.run.wall_s, ttft[name], ran.num_events, cpu_s, ran.run.wall_s, ran.cpu_s
        )
    return found, other_cores


def _server_pids(server: Server) -> list[int]:
    return [pid for pid in (server.process_id, *server.model_process_ids().values()) if pid is not None]


def _cpu_s(pids: Sequence[int]) -> list[float]:
    try:
        return [process_cpu_s(pid) for pid in pids]
    except OSError as exc:
        raise UnavailableError("a server went away while it was measured; its log says why") from exc


async def _latencies(
    grpc_url: str, ports: Mapping[str, int], count: int, workload: Workload, left_out: dict[str, str]
) -> dict[str, float]:
    """Median milliseconds from asking to the first of the answer, one request at a time, the ways in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ("direct", *ports)}
    async with grpc.aio.insecure_channel(grpc_url, options=(("grpc.enable_http_proxy", 0),)) as channel:
        await channel.channel_ready()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for number, text in enumerate(prompts(count, workload.prompt_words, seed=1_000_000 + workload.seed)):
            taken["direct"].append(await _direct_ttft_ms(stub, f"latency-{number}", text))
            for name, port in ports.items():
                await asyncio.sleep(_PAUSE_S)
                try:
                    taken[name].append(await _chat_ttft_ms(port, text))
                except TridentError as exc:
                    if name == GATEWAY:
                        raise
                    left_out[name] = exc.message
            await asyncio.sleep(_PAUSE_S)
    return {name: percentile(times, 50) for name, times in taken.items()}


async def _direct_ttft_ms(stub: Any, request_id: str, text: str) -> float:
    messages = [{"role": "user", "content": text}]
    sampling = Sampling(max_tokens=_LATENCY_TOKENS, temperature=1.0)  # as a chat over HTTP has it
    message = to_message(build_request(request_id, ENSEMBLE.name, messages, sampling, is_streaming=True))
    start = time.perf_counter()
    call = stub.ModelStreamInfer()
    await call.write(message)
    await call.done_writing()
    first = 0.0
    while (answer := await call.read()) is not grpc.aio.EOF:
        if answer.error_message:
            raise EngineError(answer.error_message)
        first = first or time.perf_counter()
    return 1000 * (first - start)


async def _chat_ttft_ms(port: int, text: str) -> float:
    stream = await open_chat(port, chat_request(port, MODEL, text, _LATENCY_TOKENS))
    try:
        await stream.ended
        stream.num_tokens()
    finally:
        stream.close()
    return 1000 * (stream.arrivals[0] - stream.sent)


def median_side(rounds: Sequence[Round], direct: Sequence[Round]) -> SideFigures:
    """The figures of a way, over those of gRPC alone in the same rounds."""

    def median(value: Callable[[Round], float], of: Sequence[Round] = rounds) -> float:
        return statistics.median(value(each) for each in of)

    rate, ttft_ms = median(lambda each: each.tokens_per_s), median(lambda each: each.ttft_ms)
    return SideFigures(
        tokens_per_s=rate,
        ttft_p50_ms=ttft_ms,
        added_ttft_p50_ms=ttft_ms - median(lambda each: each.ttft_ms, direct),
        throughput_ratio=rate / median(lambda each: each.tokens_per_s, direct),
        chunks_per_s=median(lambda each: each.num_events / each.wall_s),
        cpu_ms_per_chunk=median(lambda each: 1000 * each.cpu_s / each.num_events if each.num_events else 0.0),
        client_cores=median(lambda each: each.client_cpu_s / each.wall_s),
    )
