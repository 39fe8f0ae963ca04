"""KServe v2 over HTTP: what of Triton's own API a public gateway offers; the rest of it is never forwarded.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
Errors under /v2 have KServe's form (`edge/errors.py`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import orjson
from fastapi import APIRouter, Depends, HTTPException, Request, Response

from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.edge.dependencies import identity_of, request_id_of
from trident.gateway.edge.errors import ApiError
from trident.gateway.edge.event_stream import EventStream, unless_gone
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.asked_tensors import AskedTensors, is_stop, read_tensors
from trident.gateway.kserve_api.generate_body import generate_answer, read_generate_body
from trident.gateway.kserve_api.infer_body import HEADER_LENGTH, InferBody, infer_answer, read_infer_body
from trident.gateway.kserve_api.kserve import Kserve, KserveExchange, check_lone
from trident.gateway.kserve_api.metadata import SERVER
from trident.gateway.kserve_api.tensors import Tensor

Caller = Annotated[Identity, Depends(identity_of("kserve"))]
router = APIRouter(prefix="/v2", include_in_schema=False)
_API = "kserve-http"
_MODEL = ("/models/{model}", "/models/{model}/versions/{version}")
_NOT_OFFERED = (
    "the gateway offers health, metadata, ready, infer, generate and generate_stream of KServe v2, and no more"
)
_JSON = "application/json"
_METHODS = re.compile(
    r"health/(live|ready)|models/[^/]+(/versions/[^/]+)?(/ready|/(?P<verb>infer|generate|generate_stream))?"
)


def kserve_of(request: Request) -> Kserve:
    """The part of the application that every endpoint here asks."""
    return cast(Kserve, request.app.state.kserve)


@router.get("")
async def server_metadata(_: Caller) -> Response:
    """What answers here."""
    return _json(SERVER)


@router.get("/health/live")
async def live() -> Response:
    """The process answers."""
    return Response()


@router.get("/health/ready")
async def ready(request: Request) -> Response:
    """200: send requests; 503: do not."""
    return Response(status_code=200 if await kserve_of(request).is_ready() else 503)


@router.get(_MODEL[0])
@router.get(_MODEL[1])
async def model_metadata(request: Request, caller: Caller, model: str, version: str = "") -> Response:
    """The tensors of a model."""
    return _json(kserve_of(request).metadata(caller, model, version))


@router.get(f"{_MODEL[0]}/ready")
@router.get(f"{_MODEL[1]}/ready")
async def model_ready(request: Request, caller: Caller, model: str, version: str = "") -> Response:
    """A deployment behind the model can answer; 503 otherwise."""
    is_ready = await kserve_of(request).is_model_ready(caller, model, version)
    return Response(status_code=200 if is_ready else 503)


@router.post(f"{_MODEL[0]}/infer")
@router.post(f"{_MODEL[1]}/infer")
async def infer(request: Request, caller: Caller, model: str, version: str = "") -> Response:
    """One whole answer as tensors; several responses only a stream can carry."""
    body = read_infer_body(await request.body(), request.headers.get(HEADER_LENGTH))
    if is_stop(body.tensors):
        return await _stopped(request, caller, body.id, *infer_answer(model, body, ()))
    kserve_of(request).check_model(caller, model, version)
    asked = read_tensors(body.tensors, body.outputs)
    check_lone(asked, "generate_stream, or ModelStreamInfer over gRPC")
    return await unless_gone(request, _inferred(_exchange(request, caller, model, asked, body.id), model, body))


@router.post(f"{_MODEL[0]}/generate")
@router.post(f"{_MODEL[1]}/generate")
async def generate(request: Request, caller: Caller, model: str, version: str = "") -> Response:
    """One whole answer as plain JSON."""
    client_id, tensors = read_generate_body(await request.body())
    if is_stop(tensors):
        return await _stopped(
            request, caller, client_id, generate_answer(model, client_id, ()), {"content-type": _JSON}
        )
    kserve_of(request).check_model(caller, model, version)
    asked = read_tensors(tensors)
    check_lone(asked, "generate_stream")
    return await unless_gone(request, _generated(_exchange(request, caller, model, asked, client_id), model, client_id))


@router.post(f"{_MODEL[0]}/generate_stream")
@router.post(f"{_MODEL[1]}/generate_stream")
async def generate_stream(request: Request, caller: Caller, model: str, version: str = "") -> Response:
    """Each response as a server-sent event, of the same JSON."""
    client_id, tensors = read_generate_body(await request.body())
    if is_stop(tensors):
        return await _stopped(request, caller, client_id, b"", {"content-type": "text/event-stream; charset=utf-8"})
    kserve_of(request).check_model(caller, model, version)
    exchange = _exchange(request, caller, model, read_tensors(tensors), client_id)
    await unless_gone(request, exchange.__aenter__())
    return EventStream(
        request,
        _events(exchange, model, client_id),
        close=exchange.aclose,
        last_event=_error_event,
        headers=exchange.headers(),
    )


@router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
async def not_offered(rest: str, _: Caller) -> Response:
    """Shared memory, repository, configuration, statistics, trace, logging, and whatever Triton may learn."""
    if offered := _METHODS.fullmatch(rest):
        allowed = "POST" if offered["verb"] else "GET"
        raise HTTPException(405, f"ask /v2/{rest[:200]} by {allowed}", {"allow": allowed})
    raise HTTPException(404, f"there is no /v2/{rest[:200]} here; {_NOT_OFFERED}")


def _exchange(request: Request, caller: Identity, model: str, asked: AskedTensors, client_id: str) -> KserveExchange:
    return KserveExchange(
        kserve_of(request), caller, request_id_of(request), model, asked, api=_API, client_id=client_id,
        cache=cache_wish_of(request.headers), cache_tags=cache_tags_of(request.headers),
    )  # fmt: skip


async def _inferred(exchange: KserveExchange, model: str, body: InferBody) -> Response:
    async with exchange:
        tensors = await exchange.lone_response()
    content, headers = infer_answer(model, body, tensors)
    return Response(content, headers={**exchange.headers(), **headers})


async def _generated(exchange: KserveExchange, model: str, client_id: str) -> Response:
    async with exchange:
        tensors = await exchange.lone_response()
    return Response(generate_answer(model, client_id, tensors), headers=dict(exchange.headers()), media_type=_JSON)


async def _stopped(
    request: Request, caller: Identity, client_id: str, content: bytes, headers: dict[str, str]
) -> Response:
    await kserve_of(request).live.stop(caller.tenant, client_id)
    return Response(content, headers=headers)


async def _events(exchange: KserveExchange, model: str, client_id: str) -> AsyncIterator[bytes]:
    async for tensors, _ in exchange.responses():
        if tensors:
            yield _event(model, client_id, tensors)


def _event(model: str, client_id: str, tensors: list[Tensor]) -> bytes:
    return b"data: " + generate_answer(model, client_id, tensors) + b"\n\n"


def _error_event(error: ApiError) -> bytes:
    return b"data: " + orjson.dumps({"error": error.message}) + b"\n\n"


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)
