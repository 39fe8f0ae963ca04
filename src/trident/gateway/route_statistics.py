"""How many requests each deployment had and failed, by model, of this worker process since it started: for the pages.

In memory. What an A/B report says is in the ledger. A deployment that the file moves elsewhere begins anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trident.gateway.asked import Asked, Outcome
from trident.gateway.config import Deployment
from trident.gateway.upstream_errors import DEPLOYMENT_FAILURES

Values = NDArray[np.float64]
_SAMPLE_SIZE = 2048


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


class RouteStatistics:
    """An `Observer`."""

    def __init__(self, deployments: Mapping[str, Deployment]) -> None:
        self._arms: dict[tuple[str, str], Arm] = {}  # by model and deployment
        self._addresses: dict[str, tuple[str | None, ...]] = {}
        self.update(deployments)

    def update(self, deployments: Mapping[str, Deployment]) -> None:
        """The file was rewritten: of deployments that moved or went nothing is kept."""
        addresses = {name: (*each.address(), each.version) for name, each in deployments.items()}
        stays = {name for name, address in addresses.items() if self._addresses.get(name, address) == address}
        self._addresses = addresses
        self._arms = {key: arm for key, arm in self._arms.items() if key[1] in stays}

    def arms(self, model: str) -> dict[str, Arm]:
        """By deployment."""
        return {deployment: arm for (name, deployment), arm in self._arms.items() if name == model}

    def began(self, asked: Asked) -> None:
        """Nothing is counted before it is over."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        if outcome.decision is None:
            return
        model = outcome.decision.model
        for deployment in outcome.failures:
            self._count(model, deployment, is_error=True)
        if outcome.deployment and outcome.deployment not in outcome.failures:
            self._count(model, outcome.deployment, is_error=isinstance(outcome.error, DEPLOYMENT_FAILURES))

    def _count(self, model: str, deployment: str, *, is_error: bool) -> None:
        arm = self._arms.setdefault((model, deployment), Arm())
        arm.num_requests += 1
        arm.num_errors += is_error
