"""From what a body asks for to the HTTP answer: whole, or as a stream of events. The same for chats and completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import orjson
from fastapi import Request, Response

from trident.gateway.asked import Asked, Operation
from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.edge.dependencies import gateway_of, request_id_of
from trident.gateway.edge.event_stream import EventStream, unless_gone
from trident.gateway.gateway import new_request_id
from trident.gateway.identity import Identity
from trident.gateway.limiter import Reservation
from trident.gateway.openai_api.events import StreamHead, error_event
from trident.gateway.openai_api.generation import Generation
from trident_client.completion import Completion, Delta
from trident_client.openai_request import OpenAIRequest
from trident_client.openai_response import Names
from trident_client.request import Prompt

WholeBody = Callable[[Sequence[Completion], StreamHead, Names], dict[str, Any]]


class Events(Protocol):
    """What makes the events of a stream."""

    def of(self, number: int, delta: Delta, names: Names = ...) -> bytes:
        """Of a delta of the prompt with this number; `names`: texts of its `top_ids`."""
        ...

    def end(self) -> bytes:
        """After the last."""
        ...


async def with_length(request: Request, identity: Identity, model: str, asked: OpenAIRequest) -> OpenAIRequest:
    """Of a chat that says nothing of its length: as long as its model can be."""
    gateway = gateway_of(request)
    gateway.router.route_of(model, identity)
    max_tokens = await gateway.text_models.longest_completion(model, request_id_of(request))
    return replace(asked, sampling=replace(asked.sampling, max_tokens=max_tokens))


@asynccontextmanager
async def counted(request: Request, identity: Identity, model: str | None) -> AsyncIterator[Reservation]:
    """What generates nothing counts as a request to the model, and takes no tokens; None: one of the gateway's own.

    Raises:
        NotFoundError, PermissionDeniedError: as `Router.route_of`.
        RateLimitError, QuotaError: as `Limiter.reserve`.
    """
    gateway = gateway_of(request)
    if model is not None:
        gateway.router.route_of(model, identity)
    reservation = await gateway.limiter.reserve(identity, 0, 0.0)
    try:
        yield reservation
    finally:
        await reservation.settle(0, 0.0)


def generation_of(
    request: Request,
    identity: Identity,
    operation: Operation,
    model: str,
    asked: OpenAIRequest,
    prompts: Sequence[Prompt],
    retrieval: str = "",
) -> Generation:
    """One exchange for each prompt; the first has the id that the client is told; `retrieval`: as in `Asked`."""
    first = request_id_of(request)
    return Generation(
        gateway_of(request),
        [
            Asked(
                first if number == 0 else new_request_id(),
                identity,
                operation,
                "chat" if operation == "chat" else "completions",
                model,
                prompt,
                asked.sampling,
                is_streaming=asked.is_streaming,
                user=asked.user,
                cache=cache_wish_of(request.headers),
                cache_tags=cache_tags_of(request.headers),
                conversation=asked.conversation,
                retrieval=retrieval,
            )
            for number, prompt in enumerate(prompts)
        ],
    )


async def answer_whole(request: Request, generation: Generation, model: str, body: WholeBody) -> Response:
    """One JSON body, made by `body`. A client that leaves frees its slot.

    Raises:
        TridentError: the generation was refused, or failed.
    """

    async def complete() -> tuple[list[Completion], Names]:
        try:
            await generation.start()
            completions = await generation.completions()
        finally:
            await generation.close()
        return completions, await generation.names(*(each for one in completions for each in (one, *one.others)))

    completions, names = await unless_gone(request, complete())
    content = orjson.dumps(body(completions, _head(request, generation, model), names))
    return Response(content, headers=dict(generation.headers()), media_type="application/json")


async def answer_in_events(
    request: Request, generation: Generation, model: str, events: Callable[[StreamHead], Events]
) -> Response:
    """Server-sent events, made by `events`, once the answer has begun; errors before that as of `answer_whole`."""
    try:
        await unless_gone(request, generation.start())
    except BaseException:
        await generation.close()
        raise
    made = events(_head(request, generation, model))

    async def pieces() -> AsyncIterator[bytes]:
        async for number, delta in generation.deltas():
            piece = made.of(number, delta, await generation.names(delta)) if delta.top_ids else made.of(number, delta)
            if piece:
                yield piece
        await generation.close()  # so that who asks one thing after the other finds the place free
        yield made.end()

    return EventStream(request, pieces(), close=generation.close, last_event=error_event, headers=generation.headers())


def _head(request: Request, generation: Generation, model: str) -> StreamHead:
    return StreamHead(request_id_of(request), model, int(time.time()), generation.fingerprint)
