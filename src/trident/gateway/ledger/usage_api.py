"""`GET /admin/usage`: the ledger's sums, for the operator."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from trident.gateway.edge.dependencies import gateway_of
from trident.gateway.edge.health import operator_only
from trident.gateway.ledger.usage import Dimension, usage

router = APIRouter(prefix="/admin", tags=["Operator"], dependencies=[Depends(operator_only)])


@router.get("/usage")
async def report_usage(
    request: Request,
    by: Annotated[list[Dimension], Query(description="what a row is of")] = ["tenant", "model"],  # noqa: B006
    since: Annotated[float, Query(allow_inf_nan=False, description="seconds since 1970")] = 0.0,
    until: Annotated[float | None, Query(allow_inf_nan=False, description="seconds since 1970; now")] = None,
    tenant: str | None = None,
) -> dict[str, Any]:
    """Requests, tokens, engine time, price and cost."""
    gateway = gateway_of(request)
    await gateway.ledger.flush()
    end = time.time() if until is None else until
    rows = await gateway.database.run(lambda connection: usage(connection, by, since, end, tenant))
    return {"since": since, "until": end, "by": by, "rows": rows, "lost": gateway.ledger.num_lost}
