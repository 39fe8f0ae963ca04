"""`/v1/completions`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from trident.errors import InvalidRequestError
from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import answer_in_events, answer_whole, generation_of
from trident.gateway.openai_api.answers import TextCompletion, answers
from trident.gateway.openai_api.bodies import CompletionBody
from trident.gateway.openai_api.events import CompletionEvents, StreamHead
from trident.gateway.openai_api.reading import body_in_document, check_shape, read_object
from trident.gateway.openai_api.refusals import in_openai_words
from trident_client.completion import Completion
from trident_client.openai_request import TokenIds, read_completion
from trident_client.openai_response import Names, completion_body
from trident_client.sampling import Sampling

router = APIRouter(tags=["OpenAI"])
_BASE = Sampling(temperature=1.0, max_tokens=16)  # OpenAI's defaults


@router.post(
    "/v1/completions", openapi_extra=body_in_document(CompletionBody), responses=answers(TextCompletion, streams=True)
)
async def create_completion(
    request: Request, identity: Annotated[Identity, Depends(identity_of("completions"))]
) -> Response:
    """What follows one prompt or several, whole or as server-sent events."""
    body = await read_object(request)
    asked = read_completion(body, _BASE)
    check_shape(CompletionBody, body)
    model: str = body["model"]
    texts = [prompt for prompt in asked.prompts if isinstance(prompt, str)]
    if asked.prompt_ids:
        gateway_of(request).router.route_of(model, identity)
        texts = [await _text_of(request, model, ids) for ids in asked.prompt_ids]
    echoes = tuple(texts) if asked.is_echoing else ()
    generation = generation_of(request, identity, "text_completion", model, asked, texts)

    def whole(completions: Sequence[Completion], head: StreamHead, names: Names) -> dict[str, Any]:
        return completion_body(
            completions,
            model,
            head.created,
            echoes=echoes,
            num_choices=asked.num_choices,
            fingerprint=head.fingerprint,
            names=names,
        )

    with in_openai_words(asked, "prompt"):
        if asked.is_streaming:
            return await answer_in_events(
                request, generation, model, lambda head: CompletionEvents(head, asked, echoes)
            )
        return await answer_whole(request, generation, model, whole)


async def _text_of(request: Request, model: str, token_ids: TokenIds) -> str:
    """The text that gives exactly these ids; that of a prompt has the special tokens in it.

    Raises:
        InvalidRequestError: there is none such, as servers take text alone.
    """
    models, request_id = gateway_of(request).text_models, request_id_of(request)
    text = (await models.texts(model, request_id, token_ids)).text
    if await models.token_ids(model, request_id, text) != token_ids:
        raise InvalidRequestError(
            "these token ids are not what the model's tokenizer makes of their text; send text", param="prompt"
        )
    return text
