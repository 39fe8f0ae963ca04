"""`GET /admin/overview`: what the operator's page shows, at one look."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Depends, Request

from trident.gateway.edge.health import operator_only
from trident.gateway.overview.figures import Overview
from trident.gateway.overview.reading import OverviewReader

router = APIRouter(prefix="/admin", tags=["Operator"], dependencies=[Depends(operator_only)])


@router.get("/overview")
async def show_overview(request: Request) -> Overview:
    """Deployments, models, caches, keys and limits now, and the traffic of the worker process that answers."""
    return await cast(OverviewReader, request.app.state.overview).read()
