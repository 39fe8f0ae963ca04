"""The operator's view of the routes: why a request would go where, and what came of those that went."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Connection

from trident.gateway.ab_report import AbReport, ab_report
from trident.gateway.database import LONG_S
from trident.gateway.edge.dependencies import gateway_of
from trident.gateway.edge.health import operator_only
from trident.gateway.explanation import Question, explained
from trident.gateway.gateway import Gateway
from trident.gateway.ledger.ab_facts import read_arm, read_shadows

router = APIRouter(prefix="/admin", tags=["Operator"], dependencies=[Depends(operator_only)])


@router.post("/route/explain")
async def explain_route(request: Request, question: Question) -> dict[str, Any]:
    """Where a request would go now and why, by the same code and the live state that requests are routed by."""
    return await explained(gateway_of(request).router, question)


@router.get("/routes/{model:path}/report")
async def report_route(
    request: Request,
    model: str,
    since: Annotated[float, Query(description="seconds since 1970", ge=0, allow_inf_nan=False)] = 0.0,
) -> Response:
    """What the model's deployments did with what runs there now, from the ledger, with 95 % confidence intervals."""
    content = orjson.dumps(asdict(await report_of(gateway_of(request), model, since)))
    return Response(content, media_type="application/json")


async def report_of(gateway: Gateway, model: str, since: float = 0.0) -> AbReport:
    """Of requests that ended after `since`, in seconds since 1970.

    Raises:
        NotFoundError: there is no such model.
        UnavailableError: the database does not answer.
    """
    name, route = gateway.router.route_of(model)
    known = {each: gateway.ledger.version_at(each) for each in gateway.config.deployments}
    versions = {each: known[each] for each in dict.fromkeys((*route.deployments, *route.fallbacks))}
    baseline = max(route.deployments, key=lambda each: route.deployments[each])
    await gateway.ledger.flush()

    def read(connection: Connection) -> AbReport:
        arms = {each: read_arm(connection, name, each, version, since) for each, version in versions.items()}
        return ab_report(name, arms, read_shadows(connection, name, known, since), versions, baseline)

    return await gateway.database.run(read, LONG_S)
