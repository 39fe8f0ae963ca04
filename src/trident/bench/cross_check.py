"""Two clients that share no code on the same load in turn: ours and NVIDIA's perf_analyzer."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from trident.bench.load import Pressure, Requests, Window, run_load
from trident.bench.load_figures import Limits, LoadFigures, load_figures, warnings
from trident.bench.load_report import aligned
from trident.bench.load_serve import Target
from trident.bench.perf_analyzer import Command, TheirFigures, run_perf_analyzer

_NAMES = tuple(field.name for field in fields(TheirFigures))


def measure(
    command: Command,
    target: Target,
    requests: Requests,
    pressure: Pressure,
    window: Window,
    repeats: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Medians of `repeats` rounds: `trident`, `perf_analyzer`, `ratio` (theirs over ours), and our warnings.

    Raises:
        EngineError: one of the two could not measure.
    """
    ours: list[LoadFigures] = []
    theirs: list[TheirFigures] = []
    for repeat in range(repeats):
        ours.append(asyncio.run(_ours(target, requests, pressure, window, seed=repeat)))
        theirs.append(run_perf_analyzer(command, target, requests, pressure, window, seed=repeat))
        report(
            f"round {repeat + 1} of {repeats}, {pressure}, requests/s: {ours[-1].requests_per_s:.2f} trident, "
            f"{theirs[-1].requests_per_s:.2f} perf_analyzer"
        )
    medians = _medians(ours), _medians(theirs)
    return {
        "load": str(pressure),
        "trident": medians[0],
        "perf_analyzer": medians[1],
        "ratio": {name: medians[1][name] / medians[0][name] for name in _NAMES},
        "warnings": sorted({line for figures in ours for line in warnings(figures)}),
    }


def as_table(found: Mapping[str, Any]) -> str:
    """For people."""
    sides = ("trident", "perf_analyzer", "ratio")
    rows = [[name, *(f"{found[side][name]:.3f}" for side in sides)] for name in _NAMES]
    return "\n".join([*aligned([[found["load"], *sides], *rows]), *(f"! {line}" for line in found["warnings"])])


async def _ours(target: Target, requests: Requests, pressure: Pressure, window: Window, seed: int) -> LoadFigures:
    async with target.client() as client:
        return load_figures(await run_load(client, requests, pressure, window, seed), Limits())


def _medians(runs: list[Any]) -> dict[str, float]:
    return {name: statistics.median(getattr(each, name) for each in runs) for name in _NAMES}
