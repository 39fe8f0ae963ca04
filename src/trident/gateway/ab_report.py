"""An A/B report of one model: what its deployments did, how sure that is, and how each compares with the first.

Pure arithmetic on the facts that `ledger/ab_facts.py` reads. A difference whose interval holds 0 is none that these
requests could show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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

_MS = 1000.0


def _none() -> Values:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Arm:
    """The facts of one deployment under one model's name; values are samples, float64[n]."""

    num_requests: int = 0  # that it was asked, those that it could not answer among them
    num_errors: int = 0  # its own failures
    num_cancelled: int = 0  # by clients
    num_input_tokens: int = 0
    num_output_tokens: int = 0
    total_price: float = 0.0  # by tokens
    total_cost: float = 0.0  # by engine seconds
    ttft_s: Values = field(default_factory=_none)
    latency_s: Values = field(default_factory=_none)  # of answers that came to their end, as the next two
    price: Values = field(default_factory=_none)
    cost: Values = field(default_factory=_none)
    num_feedback: int = 0
    feedback: Values = field(default_factory=_none)  # 0 to 1


@dataclass(frozen=True, slots=True)
class ShadowArm:
    """Likewise, of one deployment as the shadow of another."""

    num_compared: int = 0
    num_equal: int = 0
    num_failed: int = 0
    num_left_out: int = 0  # because too many ran, or it was not there
    num_won: int = 0
    num_lost: int = 0
    added_latency_s: Values = field(default_factory=_none)  # beyond the real answer's
    added_chars: Values = field(default_factory=_none)


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
    total_price: float  # by tokens: what tenants owe
    price_per_request: Estimate | None
    total_cost: float  # by engine seconds: what it cost to serve
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
    price_per_request: Estimate | None
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
        _spread(arm.ttft_s),
        _spread(arm.latency_s),
        arm.num_input_tokens,
        arm.num_output_tokens,
        arm.total_price,
        mean(arm.price),
        arm.total_cost,
        mean(arm.cost),
        arm.num_feedback,
        mean(arm.feedback),
    )


def _spread(seconds: Values) -> Spread:
    times = seconds * _MS
    return Spread(mean(times), quantile(times, 0.5), quantile(times, 0.95))


def _contrast(name: str, arm: Arm, baseline: str, base: Arm) -> Contrast:
    return Contrast(
        name,
        baseline,
        share_difference((base.num_errors, base.num_requests), (arm.num_errors, arm.num_requests)),
        mean_difference(base.ttft_s * _MS, arm.ttft_s * _MS),
        mean_difference(base.latency_s * _MS, arm.latency_s * _MS),
        mean_difference(base.price, arm.price),
        mean_difference(base.cost, arm.cost),
        superiority(base.feedback, arm.feedback),
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
        mean(arm.added_latency_s * _MS),
        mean(arm.added_chars),
    )
