"""What probes and Prometheus ask: whether the process lives, whether it can serve, and its figures."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from trident.errors import TridentError
from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.gateway import Gateway

_FRESH_S = 1.0
_PATIENCE_S = 2.0
_FORWARDED = ("forwarded", "x-forwarded-", "x-real-ip", "x-envoy-", "x-client-ip", "true-client-ip", "cf-", "via")

router = APIRouter(include_in_schema=False)


async def operator_only(request: Request) -> None:
    """This machine, asking by itself and not for somebody else, or a key with the scope "admin".

    It asks by its own name: a proxy here is asked by the gateway's, a browser here by its page's (DNS rebinding) or on
    its behalf (`origin`). A proxy that hides all of this is not told from the machine.
    """
    address = request.client.host if request.client is not None else ""
    is_forwarded = any(name.startswith(_FORWARDED) for name in request.headers)
    names = [request.headers.get("host", "")]
    if (origin := request.headers.get("origin")) is not None:
        names.append(origin.partition("://")[2])
    if _is_loopback(address) and not is_forwarded and all(map(_is_own_name, names)):
        return
    await identity_of("admin")(request)


class Readiness:
    """Whether every model has a deployment that answers; asked again after a second, by one request for all."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._asked_at = -_FRESH_S
        self._reason = ""

    async def reason_against(self) -> str:
        """Why it is not ready; empty: it is."""
        if self._gateway.is_draining:
            return "draining"
        async with self._lock:
            if time.monotonic() - self._asked_at >= _FRESH_S:
                self._reason = await self._ask()
                self._asked_at = time.monotonic()
        return self._reason

    async def _ask(self) -> str:
        models = self._gateway.config.models.values()
        names = sorted({name for model in models for name in (*model.deployments, *model.fallbacks)})
        answers = dict(zip(names, await asyncio.gather(*map(self._answers, names)), strict=True))
        silent = [
            model for model in models if not any(answers[name] for name in (*model.deployments, *model.fallbacks))
        ]
        return f"{len(silent)} of {len(models)} models have no deployment that answers" if silent else ""

    async def _answers(self, name: str) -> bool:
        try:
            return await asyncio.wait_for(self._gateway.upstreams[name].is_ready(), _PATIENCE_S)
        except (TridentError, asyncio.TimeoutError):
            return False


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> JSONResponse:
    """200: send requests; 503: do not."""
    reason = await request.app.state.readiness.reason_against()
    return JSONResponse({"status": "not ready", "reason": reason}, 503) if reason else JSONResponse({"status": "ready"})


@router.get("/metrics", dependencies=[Depends(operator_only)])
async def metrics(gateway: Annotated[Gateway, Depends(gateway_of)]) -> Response:
    """In Prometheus' text form."""
    return Response(gateway.metrics.page(), media_type=CONTENT_TYPE_LATEST)


def _is_own_name(host: str) -> bool:
    """`host`: with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
