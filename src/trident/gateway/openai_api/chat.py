"""`/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from trident.gateway.edge.dependencies import identity_of
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import answer_in_events, answer_whole, generation_of, with_length
from trident.gateway.openai_api.answers import ChatCompletion, answers
from trident.gateway.openai_api.bodies import ChatBody
from trident.gateway.openai_api.events import ChatEvents, StreamHead
from trident.gateway.openai_api.reading import body_in_document, check_shape, read_object
from trident.gateway.openai_api.refusals import in_openai_words
from trident_client.completion import Completion
from trident_client.openai_request import read_chat
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
    """The answer to a chat, whole or as server-sent events."""
    body = await read_object(request)
    asked = read_chat(body, _BASE)
    check_shape(ChatBody, body)
    model: str = body["model"]
    if body.get("max_tokens") is None and body.get("max_completion_tokens") is None:
        asked = await with_length(request, identity, model, asked)
    generation = generation_of(request, identity, "chat", model, asked, asked.prompts)

    def whole(completions: Sequence[Completion], head: StreamHead, names: Names) -> dict[str, Any]:
        return chat_body(
            completions[0], model, head.created, forced=asked.forced, fingerprint=head.fingerprint, names=names
        )

    with in_openai_words(asked, "messages"):
        if asked.is_streaming:
            return await answer_in_events(request, generation, model, lambda head: ChatEvents(head, asked))
        return await answer_whole(request, generation, model, whole)
