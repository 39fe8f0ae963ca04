"""`/admin/cache`: what the cache holds, and forgetting some of it. Of the worker process that answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from trident.errors import InvalidRequestError, NotFoundError
from trident.gateway.cache.answers import AnswerCache
from trident.gateway.edge.dependencies import gateway_of
from trident.gateway.edge.health import operator_only

router = APIRouter(prefix="/admin", tags=["Operator"], dependencies=[Depends(operator_only)])


@router.get("/cache")
async def show_cache(request: Request) -> dict[str, Any]:
    """Answers, bytes, hits and misses since the start; of semantic hits, how many were verified and were false."""
    cache = _cache_of(request)
    found = {"answers": len(cache.store), "bytes": cache.store.num_bytes, **cache.num_hits, "misses": cache.num_misses}
    if cache.semantic is None or cache.verification is None:
        return found
    checked = {"verified": cache.verification.num_verified, "false": cache.verification.num_false}
    return {**found, "semantic_cache": {**await cache.semantic.figures(), **checked}}


@router.delete("/cache")
async def forget_answers(
    request: Request,
    key: Annotated[str, Query(description="as `x-trident-cache-key` says it")] = "",
    prefix: Annotated[str, Query(description="with which the prompt begins")] = "",
    model: str = "",
    tag: str = "",
    tenant: str = "",
    everything: bool = False,
) -> dict[str, Any]:
    """Forget the answers for which all that is given holds."""
    if not (key or prefix or model or tag or tenant or everything):
        raise InvalidRequestError("give key, prefix, model, tag or tenant, or everything=true")
    found = await _cache_of(request).drop(key=key, prefix=prefix, model=model, tag=tag, tenant=tenant)
    return {"forgotten": found}


def _cache_of(request: Request) -> AnswerCache:
    cache = gateway_of(request).cache
    if cache is None:
        raise NotFoundError("the cache is off; set enabled = true in [cache]", code="cache_off")
    return cache
