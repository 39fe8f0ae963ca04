"""Which deployments a request is offered to, in which order, and why.

It decides by the gateway's file and by what it sees of the deployments; it sends nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from trident.errors import NotFoundError, UnavailableError, did_you_mean
from trident.gateway.asked import Asked, Decision
from trident.gateway.classifier import Classifiers
from trident.gateway.conditions import RuleTest
from trident.gateway.config import Deployment, GatewayConfig
from trident.gateway.deployment_state import DeploymentState, Place
from trident.gateway.identity import Identity
from trident.gateway.policies import in_order
from trident.gateway.prompt_text import last_user_text
from trident.gateway.routing_rules import ModelRoute

_NO_LABELS: Mapping[str, str] = {}


class Router:
    """Of one gateway. `chance` and `clock` are arguments for tests."""

    def __init__(
        self,
        config: GatewayConfig,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.states: dict[str, DeploymentState] = {}
        self._config = config
        self._chance = chance
        self._clock = clock
        self._rules: tuple[RuleTest, ...] = ()
        self._classifiers = Classifiers(())
        self.update(config)

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten. What is known of a deployment is kept, unless it is another server now."""
        rules = tuple(RuleTest(rule) for rule in config.rules)
        classifiers = Classifiers({rule.classifier for rule in rules if rule.classifier is not None})
        self.states = {name: self._state_of(name, deployment) for name, deployment in config.deployments.items()}
        self._classifiers.close()
        self._config, self._rules, self._classifiers = config, rules, classifiers

    def close(self) -> None:
        """No request comes any more."""
        self._classifiers.close()

    def route_of(self, model: str, identity: Identity | None = None) -> tuple[str, ModelRoute]:
        """The route behind a name or an alias, for who may ask it.

        Raises:
            NotFoundError: there is none; says the nearest name among those that `identity` may know.
            PermissionDeniedError: the key may ask neither this name nor the route's own.
        """
        name = self._name_behind(model)
        allowed = None if identity is None else identity.models
        if name is None:
            known = [each for each in self._config.models if allowed is None or each in allowed]
            raise NotFoundError(f"the model '{model}' does not exist{did_you_mean(model, known)}", param="model")
        if identity is not None and (allowed is None or name not in allowed):
            identity.check_model(model)
        return name, self._config.models[name]

    async def labels_of(self, asked: Asked) -> Mapping[str, str]:
        """What the classifiers say of a request, by their names; only those are asked on which a rule depends."""
        if not any(rule.classifier for rule in self._rules):
            return _NO_LABELS
        name, _ = self.route_of(asked.model)
        wanted = {
            rule.classifier
            for rule in self._rules
            if rule.classifier is not None and rule.holds_but_for_label(asked, name)
        }
        return await self._classifiers.labels(sorted(wanted), last_user_text(asked.prompt)) if wanted else _NO_LABELS

    def decide(self, asked: Asked, labels: Mapping[str, str] = _NO_LABELS) -> Decision:
        """The deployments for one request; raises NotFoundError for an unknown model."""
        name, route = self.route_of(asked.model)
        reasons: tuple[str, ...] = (
            f"model {name}" if name == asked.model else f"model {name} by its alias {asked.model}",
        )
        holding = (each.rule for each in self._rules if each.holds(asked, name, labels))
        rule = next((each for each in holding if self._does(route.operation, each.use_model)), None)
        if rule is None:
            return self._among(name, asked, reasons)
        reasons = (*reasons, f"rule {rule.name}: model {rule.use_model}")
        decision = self._among(rule.use_model, asked, reasons)
        if rule.escalate and rule.use_model != name:
            reasons = (*reasons, f"escalated to {name}: {rule.use_model} could not begin")
            return replace(decision, escalation=self._among(name, asked, reasons))
        return decision

    def enter(self, deployment: str) -> Place:
        """A place at a deployment for one request, which has to leave it.

        Raises:
            QueueFullError: as many requests run there as may.
            UnavailableError: it has failed lately, or is no longer in the file.
        """
        state = self.states.get(deployment)
        if state is None:
            raise UnavailableError(f"deployment {deployment} is no longer in the file")
        return state.enter()

    def engine_at(self, deployment: str) -> str:
        """What runs there, as it says itself; empty: not known."""
        state = self.states.get(deployment)
        return "" if state is None else state.engine

    def served_at(self, deployment: str) -> str:
        """The engine that was last seen there, as "name@version"; empty: none was."""
        state = self.states.get(deployment)
        return "" if state is None else state.served

    def _does(self, operation: str, model: str) -> bool:
        """A rule leads from a model for text to another, or from one for embeddings; never across."""
        return self._config.models[model].operation == operation

    def _name_behind(self, model: str) -> str | None:
        if model in self._config.models:
            return model
        return next((name for name, route in self._config.models.items() if model in route.aliases), None)

    def _state_of(self, name: str, deployment: Deployment) -> DeploymentState:
        known = self.states.get(name)
        if known is None or known.deployment.address() != deployment.address():
            return DeploymentState(name, deployment, self._clock)
        known.update(deployment)
        return known

    def _among(self, name: str, asked: Asked, reasons: tuple[str, ...]) -> Decision:
        route = self._config.models[name]
        order = in_order(name, route, asked, self.states, self._chance)
        last = [each for each in (*route.deployments, *route.fallbacks) if each not in order.names]
        candidates = (*order.names, *last)
        reasons = (*reasons, order.reason)
        for candidate in candidates:
            obstacle = self.states[candidate].obstacle()
            if not obstacle:
                break
            reasons = (*reasons, f"not {candidate}: {obstacle}")
        has_shadow = route.shadow is not None and self._chance() < route.shadow_fraction
        return Decision(name, candidates, reasons, route.shadow if has_shadow else None)
