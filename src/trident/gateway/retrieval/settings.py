"""What the gateway's file says of documents: how they are kept, and which models answer from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_STRICT = ConfigDict(frozen=True, extra="forbid")
MAX_PASSAGES = 50  # of one prompt


class CollectionSettings(BaseModel):
    """Documents that tenants keep with the gateway; off without a model."""

    model_config = _STRICT

    model: str = Field("", description="of [models], with operation embeddings: it embeds passages and questions")
    passage_tokens: int = Field(
        256, ge=16, le=8192, description="that the embedding model reads of a text; a passage is shorter"
    )
    max_tenant_passages: int = Field(
        20_000, ge=1, description="of all documents of a tenant; each takes about 5 KB in every worker"
    )
    poll_s: float = Field(
        1.0, gt=0, le=60, description="after which documents that came by another worker or gateway are found"
    )


class ModelRetrieval(BaseModel):
    """How a model answers from documents: those of the collection that is named here, or by the request."""

    model_config = _STRICT

    collection: str = Field(
        "", description="of the tenant that asks, where the request names none; without it only requests that name one"
    )
    top_k: int = Field(5, ge=1, le=MAX_PASSAGES, description="passages at most")
    min_score: float = Field(0.25, ge=-1, le=1, description="least cosine of a passage and the question")
    max_context_tokens: int = Field(2048, ge=1, description="of all passages, by the answering model's own tokenizer")
    template: str = Field("grounded@1", description="named prompt with the variables question, passages and documents")
    injection: Literal["allow", "flag", "drop"] = Field(
        "flag", description="passages that try to give instructions (the check `injection`): told of, or left out"
    )
