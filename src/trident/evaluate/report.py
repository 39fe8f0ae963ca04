"""Quality figures for people: a table, and a plot of size, perplexity and speed (matplotlib, extra `build`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trident.errors import HostError
from trident.manifest import read_manifest

FILE_NAME = "quality.json"
PLOT_NAME = "quality.png"
_FIGURES = ("perplexity", "perplexity_ratio", "kl_mean", "greedy_agreement")


@dataclass(frozen=True)
class Candidate:
    """One engine among those that are compared."""

    engine: str  # name@version
    precision: str
    size_bytes: int  # of the files that its manifest lists
    tokens_per_second: float  # see speed.py; 0: not measured
    figures: Mapping[str, float]  # see quality.py


def candidate(directory: Path, figures: Mapping[str, float], tokens_per_second: float = 0.0) -> Candidate:
    """What the manifest says of an engine, beside what was measured."""
    manifest = read_manifest(directory)
    size_bytes = sum((directory / name).stat().st_size for name in manifest.files)
    return Candidate(f"{manifest.name}@{manifest.version}", manifest.precision, size_bytes, tokens_per_second, figures)


def table(candidates: Sequence[Candidate]) -> str:
    """One line for each, the figures that were measured."""
    known = [name for name in _FIGURES if any(name in one.figures for one in candidates)]
    head = ["engine", "precision", "MB", "tokens/s", *known]
    rows = [
        [
            one.engine,
            one.precision,
            f"{one.size_bytes / 1e6:.1f}",
            f"{one.tokens_per_second:.0f}" if one.tokens_per_second else "-",
            *(f"{one.figures[name]:.4g}" if name in one.figures else "-" for name in known),
        ]
        for one in candidates
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows])
    return "\n".join(line.rstrip() for line in lines)


def as_json(candidates: Sequence[Candidate]) -> str:
    """One JSON array."""
    return json.dumps([asdict(one) for one in candidates], indent=2)


def write_report(candidates: Sequence[Candidate], folder: Path) -> None:
    """Write quality.json and, where matplotlib is installed, quality.png."""
    (folder / FILE_NAME).write_text(as_json(candidates) + "\n", encoding="utf-8")
    try:
        plot(candidates, folder / PLOT_NAME)
    except HostError:
        (folder / PLOT_NAME).unlink(missing_ok=True)  # an older one would not be about these figures


def plot(candidates: Sequence[Candidate], path: Path) -> None:
    """Perplexity over size; the area of a point grows with its tokens per second.

    Raises:
        HostError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: PLC0415 - an extra

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as exc:
        raise HostError(f"{exc.name} is not installed; pip install 'trident-llm[build]'") from exc
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    fastest = max(one.tokens_per_second for one in candidates) or 1.0
    for one in candidates:
        place = one.size_bytes / 1e6, one.figures["perplexity"]
        axes.scatter(*place, s=80 + 400 * one.tokens_per_second / fastest, alpha=0.6)
        speed = f"\n{one.tokens_per_second:.0f} tokens/s" if one.tokens_per_second else ""
        axes.annotate(f"{one.precision}{speed}", place, ha="center", va="center", fontsize=8)
    axes.margins(0.25)
    axes.set_xlabel("engine directory, MB")
    axes.set_ylabel("perplexity (lower is better)")
    axes.set_title("Size, quality and speed")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    plt.close(figure)
