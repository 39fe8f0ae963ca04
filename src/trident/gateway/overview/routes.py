"""The models and their routes as the file has them, and what came of them since the worker started."""

from __future__ import annotations

from collections.abc import Iterator

from trident.gateway.config import GatewayConfig
from trident.gateway.overview.figures import Role, RouteDeployment, RouteFigures
from trident.gateway.route_statistics import Arm, RouteStatistics
from trident.gateway.routing_rules import ModelRoute

_NOTHING = Arm()


def route_figures(config: GatewayConfig, statistics: RouteStatistics) -> list[RouteFigures]:
    """In the file's order."""
    return [
        RouteFigures(
            model=name,
            aliases=list(route.aliases),
            operation=route.operation,
            policy=route.policy,
            sticky=route.sticky,
            shadow_fraction=None if route.shadow is None else route.shadow_fraction,
            rules=[rule.name for rule in config.rules if name in rule.model_names()],
            deployments=list(_deployments(route, statistics.arms(name))),
        )
        for name, route in config.models.items()
    ]


def _deployments(route: ModelRoute, arms: dict[str, Arm]) -> Iterator[RouteDeployment]:
    total = sum(route.deployments.values())
    for name, weight in route.deployments.items():
        yield _deployment(name, "weighted", arms.get(name, _NOTHING), weight, weight / total)
    for name in route.fallbacks:
        yield _deployment(name, "fallback", arms.get(name, _NOTHING))
    if route.shadow is not None:
        yield _deployment(route.shadow, "shadow", _NOTHING)  # its copies are in the A/B report


def _deployment(
    name: str, role: Role, arm: Arm, weight: float | None = None, share: float | None = None
) -> RouteDeployment:
    return RouteDeployment(
        deployment=name, role=role, weight=weight, share=share, requests=arm.num_requests, errors=arm.num_errors
    )
