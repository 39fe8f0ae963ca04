"""Which deployments a request is offered to, in which order, and why."""

from __future__ import annotations

import random
from collections.abc import Callable

from trident.errors import NotFoundError, did_you_mean
from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.config import GatewayConfig
from trident.gateway.routing_rules import ModelRoute


class Router:
    """Decides by the configuration and by what it has seen of the deployments."""

    def __init__(self, config: GatewayConfig, chance: Callable[[], float] = random.random) -> None:
        self._config = config
        self._chance = chance

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten."""
        self._config = config

    def route_of(self, model: str) -> tuple[str, ModelRoute]:
        """The route behind a name or an alias.

        Raises:
            NotFoundError: there is none; says the nearest name.
        """
        if model in self._config.models:
            return model, self._config.models[model]
        for name, route in self._config.models.items():
            if model in route.aliases:
                return name, route
        raise NotFoundError(
            f"the model '{model}' does not exist{did_you_mean(model, self._config.models)}", param="model"
        )

    def decide(self, asked: Asked) -> Decision:
        """The deployments for one request; raises NotFoundError for an unknown model."""
        name, route = self.route_of(asked.model)
        return Decision(name, (*route.deployments, *route.fallbacks), (f"model {name}",), route.shadow)

    def began(self, asked: Asked) -> None:
        """As an observer of exchanges."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""

    def failed(self, deployment: str) -> None:
        """It could not begin to answer."""

    def answered(self, deployment: str) -> None:
        """It has begun to answer."""
