"""`trident bench serve`: loads in turn, each several times, and one report as plain JSON values.

Every other form of the report (table, CSV, page, comparison) is made of these values alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from trident.bench.load import LoadRun, Pressure, Requests, Window, run_load
from trident.bench.load_figures import NAMES, Limits, LoadFigures, latencies, load_figures, succeeded, warnings
from trident.bench.load_report import FORMAT
from trident.bench.workload import percentile
from trident.errors import UnavailableError
from trident_client import AsyncClient, Connection
from trident_client.retry import Retry
from trident_client.transport import ProtocolName

_MAX_BINS = 120


@dataclass(frozen=True)
class Target:
    """What is measured."""

    url: str  # host:port of the protocol
    protocol: ProtocolName
    model: str
    connection: Connection = field(default_factory=Connection)

    def client(self) -> AsyncClient:
        """One that sends nothing twice: a request that was refused has failed."""
        return AsyncClient(self.url, self.protocol, model=self.model, retry=Retry(0), connection=self.connection)


def measure_target(target: Target, *arguments: Any) -> dict[str, Any]:
    """`measure` with a client of its own."""

    async def measured() -> dict[str, Any]:
        async with target.client() as client:
            return await measure(client, target, *arguments)

    return asyncio.run(measured())


async def measure(
    client: AsyncClient,
    target: Target,
    requests: Requests,
    pressures: Sequence[Pressure],
    window: Window,
    limits: Limits,
    repeats: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """The report. The loads take turns, so that what changes meanwhile on the machine meets them all.

    Raises:
        UnavailableError: the model is not there or not ready.
        EngineError: a run in which no request succeeded.
    """
    if not await client.is_ready():
        raise UnavailableError(f"model '{target.model}' at {target.url} ({target.protocol}) is not ready")
    runs: dict[int, list[LoadRun]] = {number: [] for number in range(len(pressures))}
    for repeat in range(repeats):
        for number, pressure in enumerate(pressures):
            run = await run_load(client, requests, pressure, window, seed=1000 * repeat + number)
            runs[number].append(run)
            found = load_figures(run, limits)
            report(
                f"round {repeat + 1} of {repeats}, {pressure}: {found.output_tokens_per_s:.1f} tokens/s, "
                f"TTFT {found.ttft_p50_ms:.1f} ms"
            )
    return {
        "format": FORMAT,
        "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "target": {"url": target.url, "protocol": target.protocol, "model": target.model},  # and no credentials
        "requests": {**dataclasses.asdict(requests), "prompt": str(requests.prompt), "answer": str(requests.answer)},
        "limits": dataclasses.asdict(limits),
        "window": dataclasses.asdict(window),
        "repeats": repeats,
        "points": [point(pressure, runs[number], limits) for number, pressure in enumerate(pressures)],
    }


def point(pressure: Pressure, runs: Sequence[LoadRun], limits: Limits) -> dict[str, Any]:
    """One load of the report: medians, lowest and highest of its runs, percentiles of all together, a timeline."""
    figures = [load_figures(run, limits) for run in runs]
    median = _each(statistics.median, figures)
    times = [latencies(succeeded(run)) for run in runs]
    names = ("ttft_ms", "itl_ms", "tpot_ms", "latency_ms")
    return {
        "load": str(pressure),
        "pressure": _known(dataclasses.asdict(pressure)),
        "median": median,
        "lowest": _each(min, figures),
        "highest": _each(max, figures),
        "runs": [dataclasses.asdict(each) for each in figures],
        "warnings": warnings(LoadFigures(**median)),
        "percentiles": {
            name: percentiles([value for each in times for value in getattr(each, name)]) for name in names
        },
        "timeline": timeline(runs[-1]),
    }


def percentiles(values: Sequence[float]) -> list[float]:
    """The 0th to the 100th, nearest rank; empty for no values."""
    ordered = sorted(values)
    return [percentile(ordered, percent) for percent in range(101)] if ordered else []


def timeline(run: LoadRun) -> dict[str, Any]:
    """From the start of the load to the end of the window, in bins of a quarter of a second or more.

    A response counts with its share of its request's tokens.
    """
    bin_s = max(0.25, run.window.end_s / _MAX_BINS)
    num_bins = math.ceil(run.window.end_s / bin_s)
    tokens, running = [0.0] * num_bins, [0] * num_bins
    for sample in run.samples:
        share = (sample.num_output_tokens or len(sample.arrivals_s)) / max(1, len(sample.arrivals_s))
        for moment_s in sample.arrivals_s:
            if moment_s < run.window.end_s:
                tokens[int(moment_s / bin_s)] += share
        last_s = (sample.arrivals_s or [sample.sent_s])[-1] if sample.is_over else math.inf
        for number in range(num_bins):
            running[number] += sample.sent_s <= (number + 0.5) * bin_s < last_s
    return {
        "bin_s": bin_s,
        "warmup_s": run.window.warmup_s,
        "output_tokens_per_s": [count / bin_s for count in tokens],
        "running": running,
    }


def _each(function: Callable[[list[float]], float], figures: Sequence[LoadFigures]) -> dict[str, float]:
    return {name: function([getattr(each, name) for each in figures]) for name in NAMES}


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what JSON cannot say: an infinite burstiness is a string there."""
    return {name: str(value) if value == math.inf else value for name, value in values.items() if value is not None}
