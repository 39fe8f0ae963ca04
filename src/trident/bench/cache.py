"""What a semantic cache would do on the labelled pairs: wrong answers and right ones, by the threshold, by both gates.

Every pair is one question that was answered and one that is asked. It knows no gateway and no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.bench.semantic_pairs import Pair
from trident.errors import HostError
from trident.gateway.config import SemanticSettings
from trident.gateway.intervals import share
from trident.gateway.semantic_gate import disagreement
from trident.manifest import read_manifest

_THRESHOLDS = tuple(number / 100 for number in range(50, 100))
_BLUE, _RED = "#2563a8", "#c2512d"


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair, and what both gates say of it."""

    is_paraphrase: bool
    is_held_out: bool
    cosine: float
    agrees: bool  # the second gate
    kind: str = ""
    frame: str = ""  # empty: it was written by itself


def judge(pairs: Sequence[Pair], engine: Path) -> list[Judged]:
    """Every pair, embedded by the engine in that directory, in this process.

    Raises:
        ManifestError: it cannot be loaded.
    """
    from trident.embedding.encoder import Encoder  # noqa: PLC0415 - OpenVINO takes a second to load

    encoder = Encoder.of(engine, read_manifest(engine))
    one, other = (encoder.encode([getattr(pair, side) for pair in pairs]).vectors for side in ("one", "other"))
    cosines = (one * other).sum(axis=1)
    return [_judged(pair, float(cosine)) for pair, cosine in zip(pairs, cosines, strict=True)]


def _judged(pair: Pair, cosine: float) -> Judged:
    agrees = not disagreement(pair.one, pair.other)
    return Judged(pair.is_paraphrase, pair.half == "held_out", cosine, agrees, pair.kind, pair.frame)


def report(judged: Sequence[Judged]) -> dict[str, Any]:
    """The figures at the gateway's own threshold, of the threshold alone too, of parts of the set, and the curve.

    `held_out_frames`: of pairs out of sentences that the gate was not mended by; pairs of one sentence resemble each
    other, so the sentences with any false hit are counted too. `by_kind`: false hits of all kinds.
    """
    threshold = SemanticSettings().threshold
    held_out = [each for each in judged if each.is_held_out]
    kinds = sorted({each.kind for each in judged if not each.is_paraphrase})
    return {
        "pairs": len(judged),
        "threshold": threshold,
        **rates(judged, threshold, is_gated=True),
        "threshold_only": rates(judged, threshold, is_gated=False),
        "held_out": rates(held_out, threshold, is_gated=True),
        "held_out_frames": _of_frames([each for each in held_out if each.frame], threshold),
        "by_kind": {
            kind: rates([each for each in judged if each.kind == kind], threshold, is_gated=True)["false_hit_rate"]
            for kind in kinds
        },
        "curve": {
            f"{each:.2f}": {
                "both_gates": rates(judged, each, is_gated=True),
                "threshold_only": rates(judged, each, is_gated=False),
            }
            for each in _THRESHOLDS
        },
    }


def _of_frames(judged: Sequence[Judged], threshold: float) -> dict[str, float]:
    hits = [each for each in judged if each.agrees and each.cosine >= threshold]
    found = rates(judged, threshold, is_gated=True)
    return {
        "pairs": len(judged),
        "frames": len({each.frame for each in judged}),
        "frames_with_false_hits": len({each.frame for each in hits}),
        **{name: value for name, value in found.items() if name.startswith("false_hit_rate")},
        "threshold_only_false_hit_rate": rates(judged, threshold, is_gated=False)["false_hit_rate"],
    }


def rates(judged: Sequence[Judged], threshold: float, *, is_gated: bool) -> dict[str, float]:
    """`recall`: of the paraphrases that hit; `false_hit_rate`: of the others that do; with 95 % intervals (Wilson).

    `precision`: of the hits that are right; 1 where nothing hits.
    """
    hits = [each for each in judged if each.cosine >= threshold and (each.agrees or not is_gated)]
    num_right = sum(each.is_paraphrase for each in hits)
    num_paraphrases = sum(each.is_paraphrase for each in judged)
    found: dict[str, float] = {}
    for name, number, total in (
        ("false_hit_rate", len(hits) - num_right, len(judged) - num_paraphrases),
        ("recall", num_right, num_paraphrases),
        ("precision", num_right, len(hits)),
    ):
        estimate = share(number, total)
        found[name] = 1.0 if estimate is None else estimate.value
        if name != "precision" and estimate is not None and estimate.low is not None and estimate.high is not None:
            found[f"{name}_low"], found[f"{name}_high"] = estimate.low, estimate.high
    return found


def plot(curve: Mapping[str, Any], path: Path) -> None:
    """Recall against false hits, and both against the threshold; PNG, SVG or PDF by the file's name.

    Raises:
        HostError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise HostError("a plot needs matplotlib; pip install 'trident-llm[bench]'") from exc
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    thresholds = [float(each) for each in curve]
    sides = (("both_gates", "threshold and gate", _BLUE), ("threshold_only", "threshold alone", _RED))
    for side, label, colour in sides:
        recall = [100 * each[side]["recall"] for each in curve.values()]
        false = [100 * each[side]["false_hit_rate"] for each in curve.values()]
        left.plot(false, recall, color=colour, marker=".", label=label)
        right.plot(thresholds, recall, color=colour, label=f"recall, {label}")
        right.plot(thresholds, false, color=colour, linestyle="--", label=f"false hits, {label}")
    left.set(title="A point for each threshold", xlabel="false hits, % of pairs that differ", ylabel="recall, %")
    right.axvline(SemanticSettings().threshold, color="#555", linestyle=":", label="default threshold")
    right.set(title="By the threshold", xlabel="least cosine", ylabel="%")
    for axes in (left, right):
        axes.grid(color="#e3e6ea")
        axes.set_ylim(-3, 103)
        axes.legend(frameon=False, fontsize=8)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as exc:
        raise HostError(f"cannot write {path}: {exc}") from exc
