"""The plots of a report as SVG text (matplotlib, extra `bench`). They are made of the report's values alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trident.bench.load_report import Report
from trident.errors import HostError

_STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "trident",  # the same report gives the same page
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.edgecolor": "#8b939c",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_BLUE, _RED = "#2563a8", "#c2512d"
_MAX_TIMELINES = 6


def check_plots() -> None:
    """Whether plots can be made.

    Raises:
        HostError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401, PLC0415 - an extra
    except ImportError as exc:
        raise HostError("a page needs matplotlib; pip install 'trident-llm[bench]', or ask for .json or .csv") from exc


def rate_curves(report: Report) -> str:
    """Tokens/s and requests/s against the load, with the range of the repeats and the goodput."""
    with _figure(2) as (axes, save):
        points = report["points"]
        _median_line(axes[0], points, "output_tokens_per_s", "output tokens/s", _BLUE)
        axes[0].set_title("Throughput, output tokens/s")
        _median_line(axes[1], points, "requests_per_s", "requests/s", _BLUE)
        if any(limit is not None for limit in report["limits"].values()):
            _median_line(axes[1], points, "goodput_per_s", "goodput: within the limits", _RED)
            axes[1].legend()
        axes[1].set_title("Requests/s that ended")
        for each in axes:
            _load_axis(each, points)
            each.set_ylim(bottom=0)
    return save()


def latency_curves(report: Report) -> str:
    """TTFT and ITL against the load: medians and 99th percentiles, with the range of the repeats."""
    with _figure(2) as (axes, save):
        points = report["points"]
        for each, name, limit in zip(axes, ("ttft", "itl"), ("ttft_ms", "itl_ms"), strict=True):
            _median_line(each, points, f"{name}_p50_ms", "p50", _BLUE)
            _median_line(each, points, f"{name}_p99_ms", "p99", _RED)
            if name == "ttft" and report["limits"][limit] is not None:
                each.axhline(report["limits"][limit], color="#555", linestyle=":", label="limit")
            _load_axis(each, points)
            each.set_ylim(bottom=0)
            each.set_title(f"{name.upper()}, ms")
            each.legend()
    return save()


def percentile_curves(report: Report) -> str:
    """TTFT, ITL and latency of all requests of all repeats, by percentile, a line a load."""
    with _figure(3) as (axes, save):
        for each, name in zip(axes, ("ttft_ms", "itl_ms", "latency_ms"), strict=True):
            for number, point in enumerate(report["points"]):
                values = point["percentiles"][name]
                each.plot(range(len(values)), values, color=_shade(number, report), label=point["load"])
            each.set_yscale("log")
            _plain_ticks(each)
            each.set_xlabel("percentile")
            each.set_title(f"{name.removesuffix('_ms').replace('_', ' ').upper().replace('LATENCY', 'Latency')}, ms")
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=6)
    return save()


def timelines(report: Report) -> str:
    """Tokens/s and requests in flight over the last round of each load; what was not measured is grey."""
    points = report["points"][:_MAX_TIMELINES]
    with _figure(2, num_rows=len(points), row_height=1.9) as (axes, save):
        for number, point in enumerate(points):
            line = point["timeline"]
            times = [(index + 0.5) * line["bin_s"] for index in range(len(line["running"]))]
            left, right = axes[2 * number], axes[2 * number + 1]
            left.fill_between(times, line["output_tokens_per_s"], step="mid", color=_BLUE, alpha=0.3, linewidth=0)
            left.step(times, line["output_tokens_per_s"], where="mid", color=_BLUE)
            right.step(times, line["running"], where="mid", color=_RED)
            left.set_title(f"{point['load']}: output tokens/s")
            right.set_title(f"{point['load']}: requests in flight")
            for each in (left, right):
                each.axvspan(0, line["warmup_s"], color="#8b939c", alpha=0.2, linewidth=0)
                each.set_ylim(0, 1.08 * each.get_ylim()[1])
                each.set_xlim(0, times[-1] + line["bin_s"] / 2)
        axes[-1].set_xlabel("s")
        axes[-2].set_xlabel("s")
    return save()


@contextmanager
def _figure(
    num_columns: int, num_rows: int = 1, row_height: float = 3.2
) -> Iterator[tuple[list[Any], Callable[[], str]]]:
    """Axes row by row, and a function that gives the SVG element once the block has ended."""
    check_plots()
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    text = io.StringIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.5, row_height * num_rows), layout="constrained")
        axes = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
        yield axes, lambda: text.getvalue()[text.getvalue().index("<svg") :]
        figure.savefig(text, format="svg", metadata={"Date": None})


def _median_line(axes: Any, points: Sequence[Mapping[str, Any]], name: str, label: str, color: str) -> None:
    loads = [_load_of(point) for point in points]
    medians, low, high = ([point[which][name] for point in points] for which in ("median", "lowest", "highest"))
    axes.fill_between(loads, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(loads, medians, color=color, marker="o", markersize=4, label=label)


def _load_axis(axes: Any, points: Sequence[Mapping[str, Any]]) -> None:
    loads = sorted(_load_of(point) for point in points)
    if loads[-1] > 8 * loads[0]:
        axes.set_xscale("log", base=2)
    axes.set_xticks(loads, [f"{load:g}" for load in loads])
    axes.minorticks_off()
    axes.set_xlabel("requests due a second" if "rate_per_s" in points[0]["pressure"] else "streams at once")


def _plain_ticks(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: PLC0415

    axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _load_of(point: Mapping[str, Any]) -> float:
    pressure = point["pressure"]
    return float(pressure.get("rate_per_s") or pressure["concurrency"])


def _shade(number: int, report: Report) -> Any:
    from matplotlib import colormaps  # noqa: PLC0415

    return colormaps["viridis"](0.05 + 0.8 * number / max(1, len(report["points"]) - 1))
