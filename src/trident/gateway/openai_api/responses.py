"""`/v1/responses`: create, read, delete, cancel. https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from trident.errors import InvalidRequestError, TridentError, UnavailableError, UnsupportedParameterError
from trident.gateway.asked import Asked
from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.edge.event_stream import EventStream, unless_gone
from trident.gateway.exchange import Exchange
from trident.gateway.failover import MAX_ATTEMPTS, attempt_id
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import counted, with_length
from trident.gateway.openai_api.pages import Order
from trident.gateway.openai_api.reading import body_in_document, read_object
from trident.gateway.openai_api.response_body import ResponseBody
from trident.gateway.openai_api.response_conversation import conversation_of
from trident.gateway.openai_api.response_events import ResponseEvents
from trident.gateway.openai_api.response_request import (
    ResponseRequest,
    in_words_of_responses,
    read_as_chat,
    read_response,
    response_object,
)
from trident.gateway.openai_api.response_store import ResponseStore
from trident.gateway.openai_api.response_stream import ResponseStream
from trident.gateway.openai_api.stored_bodies import answer
from trident_client.completion import Delta, as_deltas

Json = dict[str, Any]
router = APIRouter(tags=["OpenAI"])
Caller = Annotated[Identity, Depends(identity_of("responses"))]
_CANCEL_S, _LOOK_S = 5.0, 0.05  # how long a cancel may take to be seen, and how often it is looked for
_log = logging.getLogger(__name__)


@router.post("/v1/responses", openapi_extra=body_in_document(ResponseBody))
async def create_response(request: Request, identity: Caller) -> Response:
    """The answer to an input, whole or as server-sent events; stored unless `store` is false."""
    asked = read_response(await read_object(request))
    request_id = request_id_of(request)
    response_id = f"resp_{UUID(request_id).hex}"
    items = await conversation_of(_store(request), identity.tenant, asked, response_id)
    chat = read_as_chat(asked, items)
    if asked.body.get("max_output_tokens") is None:
        chat = await with_length(request, identity, asked.model, chat)
    events = ResponseEvents(response_object(asked, response_id, int(time.time())), request_id, chat.forced)
    exchange = gateway_of(request).exchange(
        Asked(
            request_id,
            identity,
            "chat",
            "responses",
            asked.model,
            chat.prompts[0],
            chat.sampling,
            is_streaming=asked.is_streaming,
            user=chat.user,
            conversation=chat.conversation,
            cache=cache_wish_of(request.headers),
            cache_tags=cache_tags_of(request.headers),
        )
    )
    with in_words_of_responses(chat):
        if asked.is_streaming:
            return await _in_events(request, identity, asked, items, exchange, events)
        return await _whole(request, identity, asked, items, exchange, events)


@router.post("/v1/responses/input_tokens", openapi_extra=body_in_document(ResponseBody))
async def count_input_tokens(request: Request, identity: Caller) -> Response:
    """How many tokens an input has, as the model reads it."""
    asked = read_response(await read_object(request))
    request_id = request_id_of(request)
    items = await conversation_of(_store(request), identity.tenant, asked, f"resp_{UUID(request_id).hex}")
    chat = read_as_chat(asked, items)
    async with counted(request, identity, asked.model) as reservation:
        with in_words_of_responses(chat):
            ids = await unless_gone(
                request,
                gateway_of(request).text_models.token_ids(
                    asked.model,
                    request_id,
                    chat.prompts[0],
                    tools=chat.sampling.tools,
                    chat_template_kwargs=chat.sampling.chat_template_kwargs or {},
                    has_special_tokens=True,
                ),
            )
    return answer({"object": "response.input_tokens", "input_tokens": len(ids)}, reservation.headers())


@router.get("/v1/responses/{response_id}")
async def get_response(request: Request, identity: Caller, response_id: str, stream: bool = False) -> Response:
    """A stored response; one that still runs says so."""
    if stream:
        raise UnsupportedParameterError("a stored response is not streamed again; leave stream out", param="stream")
    return answer((await _store(request).get(identity.tenant, response_id)).body)


@router.delete("/v1/responses/{response_id}")
async def delete_response(request: Request, identity: Caller, response_id: str) -> Response:
    """Delete it; responses that go on with it keep its words."""
    await _store(request).delete(identity.tenant, response_id)
    return answer({"id": response_id, "object": "response", "deleted": True})


@router.post("/v1/responses/{response_id}/cancel")
async def cancel_response(request: Request, identity: Caller, response_id: str) -> Response:
    """End one that is streamed to somebody, through whatever gateway; what came of it is kept."""
    store = _store(request)
    row = await store.get(identity.tenant, response_id)
    if row.status not in {"in_progress", "cancelled"}:
        raise InvalidRequestError(f"a response that is {row.status} cannot be cancelled", param="response_id")
    if row.status == "in_progress":
        with contextlib.suppress(TridentError, KeyError):  # its server is gone, and so is the response
            client = gateway_of(request).upstreams[row.deployment]
            await asyncio.gather(*[client.cancel(each) for each in _attempt_ids(response_id)])
        row = await _when_ended(store, identity.tenant, response_id)
    return answer(row.body)


@router.get("/v1/responses/{response_id}/input_items")
async def list_input_items(
    request: Request,
    identity: Caller,
    response_id: str,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
) -> Response:
    """The conversation that it answers, the latest item first."""
    row = await _store(request).get(identity.tenant, response_id)
    items: list[Json] = row.input if order == "asc" else row.input[::-1]
    begin = 0
    if after is not None:
        places = [number for number, item in enumerate(items) if item["id"] == after]
        if not places:
            raise InvalidRequestError(f"there is no '{after[:64]}' to go on after", param="after")
        begin = places[0] + 1
    data = items[begin : begin + limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else ("", "")
    has_more = begin + limit < len(items)
    return answer({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})


async def _whole(
    request: Request,
    identity: Identity,
    asked: ResponseRequest,
    items: list[Json],
    exchange: Exchange,
    events: ResponseEvents,
) -> Response:
    async def complete() -> tuple[Delta, Mapping[int, bytes]]:
        whole, *_ = as_deltas(await exchange.completion())  # it has one sequence
        await exchange.aclose()  # its place is another's while the names are asked for
        return whole, await _names(request, asked.model, whole)

    store = _store(request) if asked.is_stored else None
    async with contextlib.AsyncExitStack() as ending:
        await unless_gone(request, ending.enter_async_context(exchange))
        if store is not None:  # a database that is away is an error before there is an answer to lose
            kept = store.kept(identity.tenant, events.response, items, exchange.outcome.deployment)
            await ending.enter_async_context(kept)
        events.of(*await unless_gone(request, complete()))
        events.end()
    response = events.response
    if store is not None:
        try:
            await store.end(identity.tenant, response)
        except UnavailableError as exc:
            _log.warning("response %s is answered and not stored: %s", response["id"], exc.message)
            response = {**response, "store": False}
    return answer(response, exchange.headers())


async def _in_events(
    request: Request,
    identity: Identity,
    asked: ResponseRequest,
    items: list[Json],
    exchange: Exchange,
    events: ResponseEvents,
) -> Response:
    await unless_gone(request, exchange.__aenter__())
    store = _store(request) if asked.is_stored else None
    stream = ResponseStream(
        exchange,
        events,
        request_id_of(request),
        identity.tenant,
        store,
        lambda delta: _names(request, asked.model, delta),
    )
    try:
        if store is not None:
            await store.add(identity.tenant, events.response, items, exchange.outcome.deployment)
    except BaseException:
        await stream.close()
        raise
    return EventStream(
        request, stream.pieces(), close=stream.close, last_event=stream.failed, headers=exchange.headers()
    )


async def _names(request: Request, model: str, delta: Delta) -> Mapping[int, bytes]:
    return await gateway_of(request).text_models.names_in(model, request_id_of(request), delta)


def _attempt_ids(response_id: str) -> list[str]:
    """Of its requests on deployments; the row does not say which attempt it was."""
    request_id = str(UUID(response_id.removeprefix("resp_")))
    return [attempt_id(request_id, number) for number in range(1, MAX_ATTEMPTS + 1)]


async def _when_ended(store: ResponseStore, tenant: str, response_id: str) -> Any:
    """Its row once it has ended; of one whose gateway has died, the end is written here."""
    for _ in range(int(_CANCEL_S / _LOOK_S)):
        row = await store.get(tenant, response_id)
        if row.status != "in_progress":
            return row
        await asyncio.sleep(_LOOK_S)
    await store.end(tenant, {**row.body, "status": "cancelled"})
    return await store.get(tenant, response_id)


def _store(request: Request) -> ResponseStore:
    return gateway_of(request).stored.responses
