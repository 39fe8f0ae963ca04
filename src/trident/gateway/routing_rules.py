"""What a model's name stands for and which rules choose among deployments: the routing part of the gateway's file.

Types and their checks only; `router.py` decides by them. Patterns are compiled and classifiers imported here too, so
that a file that is accepted cannot fail on a request.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trident.errors import InvalidRequestError
from trident.gateway.asked import Asked, Operation
from trident.gateway.classifier import load_classifier
from trident.gateway.patterns import compile_pattern
from trident.gateway.retrieval.settings import ModelRetrieval
from trident.gateway.sticky import Sticky

_STRICT = ConfigDict(frozen=True, extra="forbid")
Policy = Literal["weighted", "least_loaded", "prefix_affinity"]


class Price(BaseModel):
    """Of a million tokens, in whatever currency budgets are in."""

    model_config = _STRICT

    input_per_million: float = Field(0.0, ge=0, description="of prompt tokens")
    cached_per_million: float | None = Field(None, ge=0, description="of tokens read from the prefix cache")
    output_per_million: float = Field(0.0, ge=0, description="of generated tokens")


class BreakerLimits(BaseModel):
    """When a deployment that fails is left alone, and for how long."""

    model_config = _STRICT

    consecutive_failures: int = Field(3, ge=1, description="in a row that open the breaker")
    failure_rate: float = Field(0.5, gt=0, le=1, description="of the last `window` requests that opens it too")
    window: int = Field(20, ge=2, le=1000, description="requests that the rate is taken of")
    rest_s: float = Field(1.0, gt=0, description="until a request may find out; doubled each time it fails")
    max_rest_s: float = Field(10.0, gt=0, description="longest rest")


class ModelRoute(BaseModel):
    """A name that clients ask for: the deployments behind it."""

    model_config = _STRICT

    deployments: dict[str, float] = Field(
        min_length=1, description="name = weight, of any sum; a weight of 0 is for fallback only"
    )
    fallbacks: tuple[str, ...] = Field(
        (), description="deployments asked, in order, when none of the others can answer"
    )
    operation: Literal["generate", "embeddings"] = Field(
        "generate", description="what it does with a text; embeddings are asked for at /v1/embeddings"
    )
    policy: Policy = Field("weighted", description="how one of the deployments is chosen")
    sticky: Sticky = Field(
        "none", description="with policy weighted: who always gets the same one; none draws for every request"
    )
    prefix_chars: int = Field(1024, ge=16, le=65_536, description="of a prompt that prefix_affinity looks at")
    shadow: str | None = Field(
        None, description="deployment that gets a copy; its answers are compared, never returned"
    )
    shadow_fraction: float = Field(1.0, ge=0, le=1, description="of the requests that are copied")
    max_shadows: int = Field(4, ge=1, le=256, description="copies that run at once; more are left out")
    price: Price = Field(Price(), description="of tokens, for budgets and reports")
    aliases: tuple[str, ...] = Field((), description="other names for the same")
    max_tokens: int | None = Field(None, ge=1, description="most tokens a completion may have")
    semantic_threshold: float | None = Field(
        None, ge=0, le=1, description="least cosine of two questions that may share an answer, here"
    )
    retrieval: ModelRetrieval | None = Field(None, description="chats are answered from documents, or may be")

    @field_validator("deployments")
    @classmethod
    def _weights_are_numbers(cls, deployments: dict[str, float]) -> dict[str, float]:
        for name, weight in deployments.items():
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(f"the weight of '{name}' is {weight:g}; give 0 or more")
        if not any(deployments.values()):
            raise ValueError("all weights are 0; give one deployment more")
        return deployments

    @model_validator(mode="after")
    def _names_each_once(self) -> ModelRoute:
        listed = (*self.deployments, *self.fallbacks)
        for name in self.fallbacks:
            if listed.count(name) > 1:
                raise ValueError(f"'{name}' is named twice among deployments and fallbacks")
        return self

    @model_validator(mode="after")
    def _embeddings_have_no_shadow(self) -> ModelRoute:
        if self.operation == "embeddings" and (self.shadow or self.max_tokens or self.retrieval):
            raise ValueError("a model for embeddings has neither shadow nor max_tokens nor retrieval")
        return self

    def deployment_names(self) -> tuple[str, ...]:
        """All that it names."""
        return (*self.deployments, *self.fallbacks, *(() if self.shadow is None else (self.shadow,)))

    def check(self, asked: Asked) -> None:
        """Raises InvalidRequestError: the model does not do this, or not so much of it."""
        makes_embeddings = self.operation == "embeddings"
        if makes_embeddings != (asked.operation == "embeddings"):
            what = "makes embeddings only, at /v1/embeddings" if makes_embeddings else "makes no embeddings"
            raise InvalidRequestError(f"the model '{asked.model}' {what}", param="model", code="unsupported_value")
        wanted = asked.sampling.max_tokens
        if self.max_tokens is not None and wanted > self.max_tokens:
            told = f"max_tokens is {wanted}; the model '{asked.model}' gives {self.max_tokens} at most"
            raise InvalidRequestError(told, param="max_tokens")


class Condition(BaseModel):
    """All that are given must hold; of a list, one."""

    model_config = _STRICT

    model: str | None = Field(None, description="that was asked, by its own name")
    tenant: frozenset[str] = Field(frozenset(), description="one of these")
    group: frozenset[str] = Field(frozenset(), description="of the tenant; one of these")
    operation: frozenset[Operation] = Field(frozenset(), description="one of these")
    prompt_matches: str | None = Field(None, description="an RE2 pattern, searched in the last user message")
    min_prompt_tokens: int | None = Field(None, ge=0, description="of the whole prompt, about (three bytes are one)")
    max_prompt_tokens: int | None = Field(None, ge=0)
    has_tools: bool | None = Field(None, description="whether the request offers tools")
    classifier: str | None = Field(None, description="'package.module:function' of (text) -> label")
    label: str | None = Field(None, description="that the classifier gives the last user message")

    @field_validator("prompt_matches")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @field_validator("classifier")
    @classmethod
    def _classifier_exists(cls, reference: str | None) -> str | None:
        if reference is not None:
            load_classifier(reference)
        return reference

    @model_validator(mode="after")
    def _can_hold(self) -> Condition:
        if (self.classifier is None) != (self.label is None):
            raise ValueError("classifier and label go together")
        low, high = self.min_prompt_tokens, self.max_prompt_tokens
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_prompt_tokens ({low}) is more than max_prompt_tokens ({high})")
        return self


class Rule(BaseModel):
    """The first rule whose condition holds sends the request to another model's deployments."""

    model_config = _STRICT

    name: str = Field(min_length=1, description="for explanations")
    when: Condition = Field(Condition(), description="always, when it is not given")
    use_model: str = Field(description="whose deployments are taken instead")
    escalate: bool = Field(
        False, description="ask the deployments of the model that was asked when none of those can begin to answer"
    )

    def model_names(self) -> tuple[str, ...]:
        """All that it names."""
        return (self.use_model, *(() if self.when.model is None else (self.when.model,)))
