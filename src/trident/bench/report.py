"""Figures as a table for people and as JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from trident.bench.workload import Figures

_ROW = "{:>8}  {:<10} {:>9} {:>10} {:>10} {:>9} {:>9} {:>11}  {:>6}"


def ratios(raw: Mapping[int, Figures], served: Mapping[int, Figures]) -> dict[str, float]:
    """`ratio_cN`: the ensemble's tokens/s over the raw engine's at N streams."""
    return {f"ratio_c{number}": served[number].tokens_per_s / raw[number].tokens_per_s for number in raw}


def added_ttft(raw: Mapping[int, Figures], served: Mapping[int, Figures]) -> dict[str, float]:
    """`ttft_added_ms_cN`: the ensemble's median TTFT less the raw engine's at the fewest streams."""
    least = min(raw)
    return {f"ttft_added_ms_c{least}": served[least].ttft_p50_ms - raw[least].ttft_p50_ms}


def overhead_table(raw: Mapping[int, Figures], served: Mapping[int, Figures]) -> str:
    """Both sides at each concurrency, and how many times one stream's tokens/s the most streams reach."""
    lines = [
        _ROW.format("streams", "side", "tokens/s", "TTFT p50", "TTFT p99", "ITL p50", "ITL p99", "resp./token", "ratio")
    ]
    for number, figures in raw.items():
        for side, row in (("raw", figures), ("ensemble", served[number])):
            ratio = f"{served[number].tokens_per_s / figures.tokens_per_s:.3f}" if side == "ensemble" else ""
            times = [f"{value:.1f} ms" for value in (row.ttft_p50_ms, row.ttft_p99_ms, row.itl_p50_ms, row.itl_p99_ms)]
            lines.append(
                _ROW.format(number, side, f"{row.tokens_per_s:.1f}", *times, f"{row.responses_per_token:.2f}", ratio)
            )
    least, most = min(served), max(served)
    if least < most:
        gain = served[most].tokens_per_s / served[least].tokens_per_s
        lines.append(f"{most} streams of the ensemble together: {gain:.1f} times the tokens/s of {least}")
    return "\n".join(lines)


def overhead_json(raw: Mapping[int, Figures], served: Mapping[int, Figures]) -> str:
    """One JSON object: the ratios, the gain of the most streams over the fewest, and every figure of both sides."""
    least, most = min(served), max(served)
    return json.dumps(
        {
            **{name: round(value, 4) for name, value in ratios(raw, served).items()},
            "batching_gain": round(served[most].tokens_per_s / served[least].tokens_per_s, 3),
            "raw": {f"c{number}": dataclasses.asdict(row) for number, row in raw.items()},
            "ensemble": {f"c{number}": dataclasses.asdict(row) for number, row in served.items()},
        },
        indent=2,
    )


# What the figures of the other benchmarks are meant to be; docs/performance.md says why.
AIMS = {
    "tokenize_ratio": "<= 1.1",
    "decode_us_per_token": "< 20",
    "checks_ms": "< 2",
    "ratio_c32": ">= 0.97",
    "ratio_c64": ">= 0.97",
    "streamed_tokens_per_s": ">= 50000",
    "tpot_ratio": "<= 1.2",
    "gap_p99_ms": "< 100",
    "ttft_added_ms_c1": "< 15",
    "overhead_async_us": "< 60",
    "overhead_sync_us": "< 60",
    "added_ttft_p50_ms": "< 3",
    "throughput_ratio": ">= 0.7",
    "cpu_ms_per_chunk": "< 0.1",
    "exact_hit_p50_ms": "< 3",
    "semantic_hit_p50_ms": "< 12",
    "false_hit_rate": "<= 0.005",
    "recall": "> 0.6",
}


def _rounded(value: Any) -> Any:
    """Four significant digits; enough for whatever was measured."""
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix + name:<44} {value:>10g}  {'aim ' + AIMS[name] if name in AIMS else ''}".rstrip()


def as_table(values: Mapping[str, Any]) -> str:
    """A figure a line, with its aim where it has one."""
    return "\n".join(_lines(_rounded(values)))


def as_json(values: Mapping[str, Any]) -> str:
    """One JSON object."""
    return json.dumps(_rounded(values), indent=2)
