"""`POST /generate`: a prompt in, a text out, for clients that speak no larger API."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request, Response

from trident.errors import InvalidRequestError
from trident.gateway.asked import Asked
from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.config import GatewayConfig
from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.edge.errors import ApiError
from trident.gateway.edge.event_stream import EventStream, unless_gone
from trident.gateway.exchange import Exchange
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.plain_body import (
    Form,
    NewTokensForm,
    Texts,
    VllmForm,
    new_tokens_answer,
    read_plain_body,
    vllm_answer,
)

router = APIRouter(include_in_schema=False)
_DEFAULT = "default"  # a route or an alias of that name is who answers when nobody is named
_JSON = "application/json"


@router.post("/generate")
async def generate(request: Request, caller: Annotated[Identity, Depends(identity_of("kserve"))]) -> Response:
    """As vLLM's demonstration server answers, or with `max_new_tokens` with counts, time and `parsed_json`."""
    form = read_plain_body(await request.body())
    exchange = gateway_of(request).exchange(_asked(request, caller, form))
    if isinstance(form, NewTokensForm):
        return await unless_gone(request, _counted(exchange))
    if not form.stream:
        return await unless_gone(request, _texts(exchange, form.prompt))
    stack = AsyncExitStack()
    await unless_gone(request, stack.enter_async_context(exchange))
    return EventStream(
        request,
        _lines(exchange, Texts(form.prompt, [""] * form.n)),
        close=stack.aclose,
        last_event=_error_line,
        headers={**exchange.headers(), "content-type": "application/x-ndjson"},
        ping=b"\n",
    )


def _asked(request: Request, caller: Identity, form: Form) -> Asked:
    model = form.model or default_model(gateway_of(request).config, caller)
    is_streaming = isinstance(form, VllmForm) and form.stream
    return Asked(
        request_id_of(request), caller, "text_completion", "generate", model, form.prompt, form.sampling(),
        is_streaming, cache=cache_wish_of(request.headers), cache_tags=cache_tags_of(request.headers),
    )  # fmt: skip


def default_model(config: GatewayConfig, caller: Identity) -> str:
    """Who answers when a request names no model: the only one that the caller may ask, or that called "default".

    Raises:
        InvalidRequestError: there are several, none of that name.
    """
    names = [name for name in config.models if caller.models is None or name in caller.models]
    if len(names) == 1:
        return names[0]
    if any(name == _DEFAULT or _DEFAULT in route.aliases for name, route in config.models.items()):
        return _DEFAULT
    raise InvalidRequestError(
        f"'model' is required, as there are several: {', '.join(names)}",
        param="model",
        code="missing_required_parameter",
    )


async def _counted(exchange: Exchange) -> Response:
    start = time.monotonic()
    async with exchange:
        completion = await exchange.completion()
    content = new_tokens_answer(completion, time.monotonic() - start)
    return Response(content, headers=dict(exchange.headers()), media_type=_JSON)


async def _texts(exchange: Exchange, prompt: str) -> Response:
    async with exchange:
        completion = await exchange.completion()
    texts = [each.text for each in (completion, *completion.others)]
    return Response(vllm_answer(prompt, texts), headers=dict(exchange.headers()), media_type=_JSON)


async def _lines(exchange: Exchange, texts: Texts) -> AsyncIterator[bytes]:
    async for delta in exchange:
        texts.add(delta.sequence_index, delta.text)
        yield texts.line()


def _error_line(error: ApiError) -> bytes:
    return orjson.dumps(error.openai_object()) + b"\n"
