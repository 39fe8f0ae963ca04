"""`/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.edge.event_stream import unless_gone
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import answer_in_events, answer_whole, generation_of, with_length
from trident.gateway.openai_api.answers import ChatCompletion, answers
from trident.gateway.openai_api.bodies import ChatBody
from trident.gateway.openai_api.events import ChatEvents, StreamHead
from trident.gateway.openai_api.reading import Json, body_in_document, check_shape, read_object
from trident.gateway.openai_api.refusals import in_openai_words
from trident.gateway.retrieval.grounding import Grounding
from trident_client.completion import Completion
from trident_client.openai_request import OpenAIRequest, read_chat
from trident_client.openai_response import Names, chat_body
from trident_client.sampling import Sampling

router = APIRouter(tags=["OpenAI"])
_BASE = Sampling(temperature=1.0)  # OpenAI's default; the engine's own is greedy


@router.post(
    "/v1/chat/completions", openapi_extra=body_in_document(ChatBody), responses=answers(ChatCompletion, streams=True)
)
async def create_chat_completion(
    request: Request, identity: Annotated[Identity, Depends(identity_of("chat"))]
) -> Response:
    """The answer to a chat, whole or as server-sent events; from documents, where the model or the body says so."""
    body = await read_object(request)
    asked = read_chat(body, _BASE)
    check_shape(ChatBody, body)
    model: str = body["model"]
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        asked = await with_length(request, identity, model, asked)
    with in_openai_words(asked, "messages"):
        grounding = await _grounding(request, identity, asked, body)
        prompts = asked.prompts if grounding is None else (grounding.messages,)
        scope, citations = ("", None) if grounding is None else (grounding.scope, grounding.citations)
        generation = generation_of(request, identity, "chat", model, asked, prompts, scope)

        def whole(completions: Sequence[Completion], head: StreamHead, names: Names) -> dict[str, Any]:
            answer = chat_body(
                completions[0], model, head.created, forced=asked.forced, fingerprint=head.fingerprint, names=names
            )
            return answer if citations is None else citations.told_in(answer)

        if asked.is_streaming:
            return await answer_in_events(request, generation, model, lambda head: ChatEvents(head, asked, citations))
        return await answer_whole(request, generation, model, whole)


async def _grounding(request: Request, identity: Identity, asked: OpenAIRequest, body: Json) -> Grounding | None:
    """The chat with passages of documents; None where it is answered without."""
    retrieval, model = gateway_of(request).retrieval, body["model"]
    settings = retrieval.settings_of(model, identity, body.get("retrieval"))
    if settings is None:
        return None
    return await unless_gone(request, retrieval.ground(request_id_of(request), identity, model, asked, settings))
