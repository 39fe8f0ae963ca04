"""What came of each model's requests, by deployment: what an A/B report is made of.

In memory, of one worker process since it started, and bounded: of each quantity a uniform sample is kept. A deployment
that the file moves elsewhere begins anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trident.errors import EngineError, QueueFullError, UnavailableError
from trident.gateway.asked import Asked, Outcome
from trident.gateway.config import Deployment

Values = NDArray[np.float64]
_SAMPLE_SIZE = 2048  # of each quantity; a 95 % interval of a share is then 2 % wide either way
_FAILURES = (UnavailableError, QueueFullError, EngineError)  # the deployment's, not the request's


class Reservoir:
    """A uniform sample of all that was added. Source: J. S. Vitter, 1985, algorithm R."""

    def __init__(self, size: int = _SAMPLE_SIZE, chance: Callable[[], float] = random.random) -> None:
        self.num_added = 0
        self._size = size
        self._chance = chance
        self._kept: list[float] = []

    def add(self, value: float) -> None:
        """One more."""
        self.num_added += 1
        if len(self._kept) < self._size:
            self._kept.append(value)
        elif (place := int(self._chance() * self.num_added)) < self._size:
            self._kept[place] = value

    def values(self) -> Values:
        """float64[kept]"""
        return np.array(self._kept, dtype=np.float64)


@dataclass(slots=True)
class Arm:
    """One deployment under one model's name."""

    num_requests: int = 0  # that it was asked, those that it could not answer among them
    num_errors: int = 0  # its own failures
    num_cancelled: int = 0  # by clients
    num_input_tokens: int = 0
    num_output_tokens: int = 0
    total_cost: float = 0.0
    ttft_s: Reservoir = field(default_factory=Reservoir)
    latency_s: Reservoir = field(default_factory=Reservoir)  # of answers that came to their end
    cost: Reservoir = field(default_factory=Reservoir)  # of those
    feedback: Reservoir = field(default_factory=Reservoir)  # 0 to 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """A real answer and its shadow's."""

    is_equal: bool  # the same text
    winner: str  # "real", "shadow" or "" where nothing says which is better
    real_latency_s: float
    shadow_latency_s: float | None  # None: it failed
    real_chars: int
    shadow_chars: int | None


@dataclass(slots=True)
class ShadowArm:
    """One deployment as the shadow of another."""

    num_compared: int = 0
    num_equal: int = 0
    num_failed: int = 0
    num_left_out: int = 0  # because too many ran, or it was not there
    num_won: int = 0
    num_lost: int = 0
    added_latency_s: Reservoir = field(default_factory=Reservoir)  # beyond the real answer's
    added_chars: Reservoir = field(default_factory=Reservoir)


class RouteStatistics:
    """An `Observer`."""

    def __init__(self, deployments: Mapping[str, Deployment]) -> None:
        self._arms: dict[tuple[str, str], Arm] = {}  # by model and deployment
        self._shadows: dict[tuple[str, str, str], ShadowArm] = {}  # by model, real and shadow deployment
        self._addresses: dict[str, tuple[str | None, ...]] = {}
        self.update(deployments)

    def update(self, deployments: Mapping[str, Deployment]) -> None:
        """The file was rewritten: of deployments that moved or went nothing is kept."""
        addresses = {name: (*each.address(), each.version) for name, each in deployments.items()}
        stays = {name for name, address in addresses.items() if self._addresses.get(name, address) == address}
        self._addresses = addresses
        self._arms = {key: arm for key, arm in self._arms.items() if key[1] in stays}
        self._shadows = {key: arm for key, arm in self._shadows.items() if stays.issuperset(key[1:])}

    def arms(self, model: str) -> dict[str, Arm]:
        """By deployment."""
        return {deployment: arm for (name, deployment), arm in self._arms.items() if name == model}

    def shadows(self, model: str) -> dict[tuple[str, str], ShadowArm]:
        """By real and shadow deployment."""
        return {(real, shadow): arm for (name, real, shadow), arm in self._shadows.items() if name == model}

    def began(self, asked: Asked) -> None:
        """Nothing is counted before it is over."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        if outcome.decision is None:
            return
        model = outcome.decision.model
        for deployment in outcome.failures:
            arm = self._arm(model, deployment)
            arm.num_requests += 1
            arm.num_errors += 1
        if outcome.deployment and outcome.deployment not in outcome.failures:
            self._count(self._arm(model, outcome.deployment), outcome)

    def feedback(self, model: str, deployment: str, score: float) -> None:
        """Somebody judged an answer: 0 is bad, 1 is good."""
        self._arm(model, deployment).feedback.add(min(1.0, max(0.0, score)))

    def compared(self, model: str, real: str, shadow: str, comparison: Comparison) -> None:
        """An answer and its shadow's."""
        arm = self._shadow(model, real, shadow)
        arm.num_compared += 1
        arm.num_equal += comparison.is_equal
        arm.num_won += comparison.winner == "shadow"
        arm.num_lost += comparison.winner == "real"
        if comparison.shadow_latency_s is None or comparison.shadow_chars is None:
            arm.num_failed += 1
            return
        arm.added_latency_s.add(comparison.shadow_latency_s - comparison.real_latency_s)
        arm.added_chars.add(comparison.shadow_chars - comparison.real_chars)

    def left_out(self, model: str, real: str, shadow: str) -> None:
        """A copy was not sent."""
        self._shadow(model, real, shadow).num_left_out += 1

    def _count(self, arm: Arm, outcome: Outcome) -> None:
        arm.num_requests += 1
        arm.num_input_tokens += outcome.num_input_tokens
        arm.num_output_tokens += outcome.num_output_tokens
        arm.total_cost += outcome.cost
        if outcome.ttft_s is not None:
            arm.ttft_s.add(outcome.ttft_s)
        if outcome.error is not None:
            arm.num_errors += isinstance(outcome.error, _FAILURES)
        elif outcome.is_cancelled:
            arm.num_cancelled += 1
        else:
            arm.latency_s.add(outcome.duration_s)
            arm.cost.add(outcome.cost)

    def _arm(self, model: str, deployment: str) -> Arm:
        return self._arms.setdefault((model, deployment), Arm())

    def _shadow(self, model: str, real: str, shadow: str) -> ShadowArm:
        return self._shadows.setdefault((model, real, shadow), ShadowArm())
