"""The operator's view of the routes: why a request would go where, and what came of those that went."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from trident.gateway.ab_report import AbReport, ab_report
from trident.gateway.edge.dependencies import gateway_of
from trident.gateway.edge.health import operator_only
from trident.gateway.explanation import Question, explained
from trident.gateway.gateway import Gateway

router = APIRouter(prefix="/admin", tags=["Operator"], dependencies=[Depends(operator_only)])


@router.post("/route/explain")
async def explain_route(request: Request, question: Question) -> dict[str, Any]:
    """Where a request would go now and why, by the same code and the live state that requests are routed by."""
    return await explained(gateway_of(request).router, question)


@router.get("/routes/{model:path}/report")
async def report_route(request: Request, model: str) -> Response:
    """What the model's deployments did since this worker started, with 95 % confidence intervals."""
    content = orjson.dumps(asdict(report_of(gateway_of(request), model)))
    return Response(content, media_type="application/json")


def report_of(gateway: Gateway, model: str) -> AbReport:
    """Raises NotFoundError: there is no such model."""
    name, route = gateway.router.route_of(model)
    versions = {
        each: gateway.config.deployments[each].version for each in dict.fromkeys((*route.deployments, *route.fallbacks))
    }
    baseline = max(route.deployments, key=lambda each: route.deployments[each])
    statistics = gateway.statistics
    return ab_report(name, statistics.arms(name), statistics.shadows(name), versions, baseline)
