"""`trident bench compare`: two reports side by side, load by load, with ratios."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trident.bench.load_report import Report, aligned, spread
from trident.errors import InvalidRequestError

_HIGHER_IS_BETTER = ("requests_per_s", "output_tokens_per_s", "goodput_per_s")
_LOWER_IS_BETTER = (
    "ttft_p50_ms", "ttft_p99_ms", "itl_p50_ms", "itl_p99_ms", "tpot_p50_ms", "latency_p50_ms", "latency_p99_ms",
)  # fmt: skip


def compare(first: Report, second: Report) -> dict[str, Any]:
    """Of every load in both: both medians, the second over the first, and whether the difference is beyond the spread
    of the repeats: their ranges do not touch.

    Raises:
        InvalidRequestError: they have no load in common.
    """
    others = {point["load"]: point for point in second["points"]}
    pairs = [(point, others[point["load"]]) for point in first["points"] if point["load"] in others]
    if not pairs:
        loads = [", ".join(point["load"] for point in report["points"]) for report in (first, second)]
        raise InvalidRequestError(f"the reports have no load in common: {loads[0]} and {loads[1]}")
    return {
        "differences": list(_differences(first, second)),
        "points": [{"load": before["load"], "figures": _figures(before, after)} for before, after in pairs],
    }


def compare_table(first: Report, second: Report) -> str:
    """For people."""
    found = compare(first, second)
    rows = [["load", "figure", "A", "B", "B/A", ""]]
    for point in found["points"]:
        for name, each in point["figures"].items():
            ratio = "-" if each["ratio"] is None else f"{each['ratio']:.3f}"
            rows.append([point["load"], name, f"{each['a']:.1f}", f"{each['b']:.1f}", ratio, each["verdict"]])
    spreads = [
        f"{name}: {report['taken']}, {report['target']['url']}, tokens/s {', '.join(map(spread, report['points']))}"
        for name, report in (("A", first), ("B", second))
    ]
    return "\n".join([*spreads, *(f"! {line}" for line in found["differences"]), *aligned(rows)])


def _figures(before: Any, after: Any) -> dict[str, Any]:
    found = {}
    for name in (*_HIGHER_IS_BETTER, *_LOWER_IS_BETTER):
        a, b = before["median"][name], after["median"][name]
        found[name] = {"a": a, "b": b, "ratio": b / a if a else None, "verdict": _verdict(name, before, after)}
    return found


def _verdict(name: str, before: Any, after: Any) -> str:
    if after["lowest"][name] <= before["highest"][name] and before["lowest"][name] <= after["highest"][name]:
        return "within the spread"
    is_higher = after["median"][name] > before["median"][name]
    return "better" if is_higher == (name in _HIGHER_IS_BETTER) else "worse"


def _differences(first: Report, second: Report) -> Iterator[str]:
    """What was not the same, so that the ratios may not say what they seem to."""
    for part in ("requests", "window", "limits"):
        for name, value in first[part].items():
            if second[part].get(name) != value:
                yield f"{part}.{name} differs: {value} in A, {second[part].get(name)} in B"
    for name, report in (("A", first), ("B", second)):
        for point in report["points"]:
            yield from (f"{name}, {point['load']}: {warning}" for warning in point["warnings"])
