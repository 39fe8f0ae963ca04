"""`/v1/embeddings`: texts to vectors, in the form of OpenAI's API."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.edge.dependencies import gateway_of, identity_of, request_id_of
from trident.gateway.edge.event_stream import unless_gone
from trident.gateway.embedding_exchange import EmbeddingExchange, embeddings_asked
from trident.gateway.identity import Identity
from trident.gateway.openai_api.reading import Json, body_in_document, check_shape, read_object
from trident_client import Embeddings

router = APIRouter(tags=["OpenAI"])
MAX_TEXTS = 2048  # OpenAI's own bound
_LITTLE_ENDIAN = np.dtype("<f4")


class EmbeddingsBody(BaseModel):
    """Of `/v1/embeddings`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(min_length=1)
    input: Any = Field(description=f"a text, or up to {MAX_TEXTS} texts")
    encoding_format: Literal["float", "base64"] | None = Field(None, description="base64: of float32, little-endian")
    dimensions: int | None = Field(None, ge=1, description="the model's own number, if any")
    user: str | None = None


@router.post("/v1/embeddings", openapi_extra=body_in_document(EmbeddingsBody))
async def create_embeddings(
    request: Request, identity: Annotated[Identity, Depends(identity_of("embeddings"))]
) -> Response:
    """The vectors of texts, each of length 1. Of a text longer than the model reads its beginning counts."""
    body = await read_object(request)
    check_shape(EmbeddingsBody, body)
    texts = _texts(body["input"])
    asked = embeddings_asked(request_id_of(request), identity, body["model"], texts, body.get("user") or "")
    exchange = gateway_of(request).embedding_exchange(asked, texts)
    found = await unless_gone(request, _embedded(exchange))
    _check_dimensions(body.get("dimensions"), found.vectors.shape[1])
    content = orjson.dumps(_answer(body, found), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, headers=dict(exchange.headers()), media_type="application/json")


async def _embedded(exchange: EmbeddingExchange) -> Embeddings:
    async with exchange:
        return await exchange.embeddings()


def _texts(given: Any) -> list[str]:
    """As a list.

    Raises:
        InvalidRequestError: none, too many, an empty one, or something else.
        UnsupportedParameterError: token ids.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InvalidRequestError("'input' must be a text or a list of texts", param="input", code="invalid_type")
    if len(texts) > MAX_TEXTS:
        raise InvalidRequestError(f"'input' has {len(texts)} texts; at most {MAX_TEXTS} are taken", param="input")
    for number, text in enumerate(texts):
        param = "input" if given is not texts else f"input[{number}]"
        if isinstance(text, (int, list)) and not isinstance(text, bool):
            raise UnsupportedParameterError(
                "'input' holds token ids, which mean other words to this model than to yours; send texts "
                "(LangChain: check_embedding_ctx_length=False)",
                param="input",
            )
        if not isinstance(text, str):
            raise InvalidRequestError(f"'{param}' must be a text", param=param, code="invalid_type")
        if not text:
            raise InvalidRequestError(f"'{param}' is empty", param=param)
    return texts


def _check_dimensions(asked: int | None, own: int) -> None:
    if asked is not None and asked != own:
        raise UnsupportedParameterError(
            f"this model's embeddings have {own} dimensions and cannot be cut to {asked}; leave dimensions out",
            param="dimensions",
        )


def _answer(body: Json, found: Embeddings) -> Json:
    vectors = found.vectors
    if body.get("encoding_format") == "base64":
        encoded: list[Any] = [base64.b64encode(row.astype(_LITTLE_ENDIAN).tobytes()).decode() for row in vectors]
    else:
        encoded = list(np.ascontiguousarray(vectors))
    num_tokens = sum(found.num_tokens)
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": number, "embedding": each} for number, each in enumerate(encoded)],
        "model": body["model"],
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
    }
