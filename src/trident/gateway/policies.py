"""The three ways to put a model's deployments in order for one request. Each says why, without a word of the prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from trident.gateway.asked import Asked
from trident.gateway.deployment_state import DeploymentState
from trident.gateway.prompt_text import leading_text
from trident.gateway.routing_rules import ModelRoute
from trident.gateway.sticky import ranked, uniform, unit_of

# Of its share of all requests; c in Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016
_AFFINITY_OVERLOAD = 1.25

States = Mapping[str, DeploymentState]
Chance = Callable[[], float]


class Order(NamedTuple):
    """Deployments of positive weight, the first choice first."""

    names: list[str]
    reason: str


def in_order(name: str, route: ModelRoute, asked: Asked, states: States, chance: Chance) -> Order:
    """By the route's own policy; `name`: of the route, `chance`: a number in [0, 1)."""
    if route.policy == "least_loaded":
        return _by_load(route, states, chance)
    if route.policy == "prefix_affinity":
        return _by_prefix(name, route, asked, states)
    return _by_weight(name, route, asked, chance)


def _by_weight(name: str, route: ModelRoute, asked: Asked, chance: Chance) -> Order:
    shares = _shares(route)
    if len(shares) == 1:
        return Order(list(shares), "its only deployment")
    unit = unit_of(asked, route.sticky)
    told = " ".join(f"{each} {share:.4g}%" for each, share in shares.items())
    if unit is None:
        return Order(ranked(route.deployments, lambda _: chance()), f"weights {told}, drawn")
    drawn = ranked(route.deployments, lambda deployment: uniform(name, *unit, deployment))
    return Order(drawn, f"weights {told}, sticky by {unit[0]}")


def _by_load(route: ModelRoute, states: States, chance: Chance) -> Order:
    names = [name for name, weight in route.deployments.items() if weight > 0]
    told = {name: states[name].load() for name in names}
    loads = {name: load for name, load in told.items() if load is not None}
    source = "the engines' own queues"
    if len(loads) < len(names):  # one that does not tell cannot be compared with those that do
        loads = {name: states[name].num_running / route.deployments[name] for name in names}
        source = "requests in flight"
    ordered = sorted(names, key=lambda name: (loads[name], chance()))
    return Order(ordered, f"least loaded by {source}: " + " ".join(f"{name} {loads[name]:.3g}" for name in ordered))


def _by_prefix(name: str, route: ModelRoute, asked: Asked, states: States) -> Order:
    prefix = leading_text(asked.prompt, route.prefix_chars)
    ordered = ranked(route.deployments, lambda deployment: uniform(name, "prefix", prefix, deployment))
    told = {each: states[each].num_sequences() for each in ordered}
    counts = {each: count for each, count in told.items() if count is not None}
    if len(counts) < len(ordered):
        counts = {each: float(states[each].num_running) for each in ordered}
    total = sum(counts.values()) + 1  # with this one
    bounds = {each: math.ceil(_AFFINITY_OVERLOAD * total * share / 100) for each, share in _shares(route).items()}
    well = [each for each in ordered if counts[each] < bounds[each]]
    overloaded = [each for each in ordered if each not in well]
    reason = "prefix affinity"
    if overloaded and overloaded[0] == ordered[0]:
        first = ordered[0]
        reason = f"prefix affinity, but {first} has {counts[first]:g} of at most {bounds[first]} requests"
    return Order(well + overloaded, reason)


def _shares(route: ModelRoute) -> dict[str, float]:
    """Per cent of the requests."""
    total = sum(route.deployments.values())
    return {name: 100 * weight / total for name, weight in route.deployments.items() if weight > 0}
