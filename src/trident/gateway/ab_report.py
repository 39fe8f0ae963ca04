"""An A/B report of one model: what its deployments did, how sure that is, and how each compares with the first.

Pure arithmetic on `route_statistics`. A difference whose interval holds 0 is none that these requests could show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trident.gateway.intervals import (
    Estimate,
    Values,
    mean,
    mean_difference,
    quantile,
    share,
    share_difference,
    superiority,
)
from trident.gateway.route_statistics import Arm, ShadowArm

_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a time in milliseconds."""

    mean: Estimate | None
    p50: Estimate | None
    p95: Estimate | None


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One deployment."""

    deployment: str
    version: str
    num_requests: int
    num_errors: int
    num_cancelled: int
    error_rate: Estimate | None
    ttft_ms: Spread
    latency_ms: Spread
    num_input_tokens: int
    num_output_tokens: int
    total_cost: float
    cost_per_request: Estimate | None
    num_feedback: int
    feedback: Estimate | None  # mean score, 0 to 1


@dataclass(frozen=True, slots=True)
class Contrast:
    """A deployment against the baseline; its figure minus the baseline's."""

    deployment: str
    baseline: str
    error_rate: Estimate | None
    ttft_ms: Estimate | None
    latency_ms: Estimate | None
    cost_per_request: Estimate | None
    win_rate: Estimate | None  # by feedback; 0.5: neither is better


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """A deployment as another's shadow, request by request."""

    deployment: str
    of: str
    num_compared: int
    num_left_out: int
    num_failed: int
    equal_rate: Estimate | None
    win_rate: Estimate | None  # of those of which one came to its end and the other did not
    added_latency_ms: Estimate | None
    added_chars: Estimate | None


@dataclass(frozen=True, slots=True)
class AbReport:
    """Of one model."""

    model: str
    arms: tuple[ArmReport, ...]
    contrasts: tuple[Contrast, ...]
    shadows: tuple[ShadowReport, ...]


def ab_report(
    model: str,
    arms: Mapping[str, Arm],
    shadows: Mapping[tuple[str, str], ShadowArm],
    versions: Mapping[str, str],
    baseline: str,
) -> AbReport:
    """`versions`: of the deployments that the model has; `baseline`: the one that the others are compared with."""
    names = [baseline, *(name for name in versions if name != baseline)]
    known = {name: arms.get(name, Arm()) for name in names}
    return AbReport(
        model,
        tuple(_arm(name, versions.get(name, ""), arm) for name, arm in known.items()),
        tuple(_contrast(name, arm, baseline, known[baseline]) for name, arm in known.items() if name != baseline),
        tuple(_shadow(real, name, arm) for (real, name), arm in shadows.items()),
    )


def _arm(name: str, version: str, arm: Arm) -> ArmReport:
    return ArmReport(
        name,
        version,
        arm.num_requests,
        arm.num_errors,
        arm.num_cancelled,
        share(arm.num_errors, arm.num_requests),
        _spread(arm.ttft_s.values()),
        _spread(arm.latency_s.values()),
        arm.num_input_tokens,
        arm.num_output_tokens,
        arm.total_cost,
        mean(arm.cost.values()),
        arm.feedback.num_added,
        mean(arm.feedback.values()),
    )


def _spread(seconds: Values) -> Spread:
    times = seconds * _MS
    return Spread(mean(times), quantile(times, 0.5), quantile(times, 0.95))


def _contrast(name: str, arm: Arm, baseline: str, base: Arm) -> Contrast:
    return Contrast(
        name,
        baseline,
        share_difference((base.num_errors, base.num_requests), (arm.num_errors, arm.num_requests)),
        mean_difference(base.ttft_s.values() * _MS, arm.ttft_s.values() * _MS),
        mean_difference(base.latency_s.values() * _MS, arm.latency_s.values() * _MS),
        mean_difference(base.cost.values(), arm.cost.values()),
        superiority(base.feedback.values(), arm.feedback.values()),
    )


def _shadow(real: str, name: str, arm: ShadowArm) -> ShadowReport:
    return ShadowReport(
        name,
        real,
        arm.num_compared,
        arm.num_left_out,
        arm.num_failed,
        share(arm.num_equal, arm.num_compared),
        share(arm.num_won, arm.num_won + arm.num_lost),
        mean(arm.added_latency_s.values() * _MS),
        mean(arm.added_chars.values()),
    )
