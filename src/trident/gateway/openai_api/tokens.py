"""`/tokenize` and `/detokenize`, in vLLM's form: what the model makes of a prompt before it generates."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from trident.errors import InvalidRequestError
from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.edge.event_stream import unless_gone
from trident.gateway.gateway import Gateway
from trident.gateway.identity import Identity
from trident.gateway.openai_api.answering import counted
from trident.gateway.openai_api.answers import Detokenized, Tokenized, answers
from trident.gateway.openai_api.bodies import DetokenizeBody, TokenizeBody
from trident.gateway.openai_api.reading import Json, body_in_document, check_shape, read_object
from trident.gateway.openai_api.stored_bodies import answer
from trident_client.request import Messages

router = APIRouter(tags=["tokens"])
_Work = Callable[[Request, Json], Coroutine[Any, Any, dict[str, Any]]]


@router.post("/tokenize", openapi_extra=body_in_document(TokenizeBody), responses=answers(Tokenized))
async def tokenize(request: Request, identity: Annotated[Identity, Depends(identity_of("tokenize"))]) -> Response:
    """The token ids of a prompt, or of the messages of a chat."""
    body = await read_object(request)
    check_shape(TokenizeBody, body)
    return await _answer(request, identity, body, _tokenized)


@router.post("/detokenize", openapi_extra=body_in_document(DetokenizeBody), responses=answers(Detokenized))
async def detokenize(request: Request, identity: Annotated[Identity, Depends(identity_of("tokenize"))]) -> Response:
    """The text of token ids, special ones included."""
    body = await read_object(request)
    check_shape(DetokenizeBody, body)
    return await _answer(request, identity, body, _detokenized)


async def _tokenized(request: Request, body: Json) -> dict[str, Any]:
    gateway, model = gateway_of(request), body["model"]
    given: list[str | Messages] = [body[name] for name in ("prompt", "messages") if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequestError("send one of prompt and messages", param="prompt", code="missing_required_parameter")
    is_chat = body.get("messages") is not None
    for name in ("tools", "chat_template_kwargs", "add_generation_prompt") if not is_chat else ("add_special_tokens",):
        if body.get(name):
            raise InvalidRequestError(f"{name} does not go with {'messages' if is_chat else 'prompt'}", param=name)
    variables = dict(body.get("chat_template_kwargs") or {})
    if body.get("add_generation_prompt") is False:
        variables["add_generation_prompt"] = False
    ids = await gateway.text_models.token_ids(
        model,
        request_id_of(request),
        given[0],
        tools=body.get("tools"),
        chat_template_kwargs=variables,
        has_special_tokens=is_chat or body.get("add_special_tokens") is not False,
    )
    found: dict[str, Any] = {"count": len(ids), "max_model_len": _max_model_len(gateway, model), "tokens": ids}
    if body.get("return_token_strs"):
        texts = await gateway.text_models.texts(model, request_id_of(request), ids)
        found["token_strs"] = [piece.decode("utf-8", "replace") for piece in texts.pieces]
    return found


async def _detokenized(request: Request, body: Json) -> dict[str, Any]:
    ids = body["tokens"]
    if not ids:
        return {"prompt": ""}
    texts = await gateway_of(request).text_models.texts(body["model"], request_id_of(request), ids)
    return {"prompt": texts.text}


async def _answer(request: Request, identity: Identity, body: Json, work: _Work) -> Response:
    async with counted(request, identity, body["model"]) as reservation:
        found = await unless_gone(request, work(request, body))
    return answer(found, reservation.headers())


def _max_model_len(gateway: Gateway, model: str) -> int | None:
    """Of the deployment that takes the least; None where none says."""
    _, route = gateway.router.route_of(model)
    deployments = [gateway.config.deployments[name] for name in route.deployments]
    return min((each.max_model_len for each in deployments if each.max_model_len is not None), default=None)
