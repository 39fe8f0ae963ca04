"""A report of `trident bench serve` as a table and as CSV, and read back from its JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trident.bench.load_figures import NAMES
from trident.errors import InvalidRequestError

FORMAT = "trident-bench-1"
Report = Mapping[str, Any]
COLUMNS = {  # heading: figure; times are milliseconds
    "requests/s": "requests_per_s", "tokens/s": "output_tokens_per_s", "goodput/s": "goodput_per_s",
    "TTFT p50": "ttft_p50_ms", "TTFT p99": "ttft_p99_ms", "ITL p50": "itl_p50_ms", "ITL p99": "itl_p99_ms",
    "TPOT p50": "tpot_p50_ms", "latency p50": "latency_p50_ms", "latency p99": "latency_p99_ms",
}  # fmt: skip


def load_table(report: Report) -> str:
    """A line a load, medians; then the spread of the repeats, and every warning."""
    points = report["points"]
    header = ["load", *COLUMNS, "spread"]
    rows = [
        [each["load"], *(f"{each['median'][name]:.1f}" for name in COLUMNS.values()), spread(each)] for each in points
    ]
    lines = aligned([header, *rows])
    for each in points:
        lines += [f"! {each['load']}: {warning}" for warning in each["warnings"]]
    return "\n".join(lines)


def spread(point: Mapping[str, Any], name: str = "output_tokens_per_s") -> str:
    """Half of the distance between the lowest and the highest repeat, over the median."""
    low, middle, high = (point[which][name] for which in ("lowest", "median", "highest"))
    return f"±{50 * (high - low) / middle:.1f}%" if middle else "-"


def load_csv(report: Report) -> str:
    """A line for each run of each load, and one `median` line a load."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["load", "run", *NAMES])
    for each in report["points"]:
        for number, run in enumerate(each["runs"], 1):
            writer.writerow([each["load"], number, *(f"{run[name]:.6g}" for name in NAMES)])
        writer.writerow([each["load"], "median", *(f"{each['median'][name]:.6g}" for name in NAMES)])
    return text.getvalue()


def read_report(path: Path) -> Report:
    """A report that `--json` or `--output` wrote.

    Raises:
        InvalidRequestError: it cannot be read, or is none.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InvalidRequestError(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidRequestError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise InvalidRequestError(f"{path} is no report of 'trident bench serve' ({FORMAT})")
    return report


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *rest = widths
    return [
        "  ".join(
            [row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True))]
        ).rstrip()
        for row in rows
    ]
