"""`/v1/models`: the names that a key may ask for."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from trident.gateway.edge.dependencies import gateway_of, identity_of
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answers import Model, ModelList, answers

_STARTED = int(time.time())  # of this process; nobody knows when a model was made
router = APIRouter(tags=["OpenAI"])


@router.get("/v1/models", responses=answers(ModelList))
async def list_models(request: Request, identity: Annotated[Identity, Depends(identity_of(None))]) -> dict[str, Any]:
    """Every model that the key may ask, aliases included."""
    models = gateway_of(request).config.models
    allowed = identity.models
    data = [
        _model(name)
        for model, route in models.items()
        for name in (model, *route.aliases)
        if allowed is None or not allowed.isdisjoint((model, name))
    ]
    return {"object": "list", "data": data}


@router.get("/v1/models/{model:path}", responses=answers(Model))
async def retrieve_model(
    request: Request, model: str, identity: Annotated[Identity, Depends(identity_of(None))]
) -> dict[str, Any]:
    """One model."""
    gateway_of(request).router.route_of(model, identity)
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "trident"}
