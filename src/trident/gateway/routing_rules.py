"""What a model's name stands for and which rules choose among deployments: the routing part of the gateway's file.

Types and their checks only; `router.py` decides by them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_STRICT = ConfigDict(frozen=True, extra="forbid")


class Price(BaseModel):
    """Of a million tokens, in whatever currency budgets are in."""

    model_config = _STRICT

    input_per_million: float = Field(0.0, ge=0)
    cached_per_million: float | None = Field(None, ge=0, description="of tokens read from the prefix cache")
    output_per_million: float = Field(0.0, ge=0)


class ModelRoute(BaseModel):
    """A name that clients ask for: the deployments behind it."""

    model_config = _STRICT

    deployments: dict[str, float] = Field(min_length=1, description="name = weight; a weight of 0 is for fallback only")
    fallbacks: tuple[str, ...] = Field(
        (), description="deployments asked, in order, when none of the others can answer"
    )
    sticky: Literal["none", "key", "tenant", "user", "conversation"] = "key"
    policy: Literal["weighted", "least_loaded", "prefix_affinity"] = "weighted"
    shadow: str | None = Field(
        None, description="deployment that gets a copy; its answers are compared, never returned"
    )
    shadow_fraction: float = Field(1.0, ge=0, le=1)
    price: Price = Price()
    aliases: tuple[str, ...] = ()
    max_tokens: int | None = Field(None, ge=1, description="most tokens a completion may have")

    def deployment_names(self) -> tuple[str, ...]:
        """All that it names."""
        return (*self.deployments, *self.fallbacks, *(() if self.shadow is None else (self.shadow,)))


class Condition(BaseModel):
    """All that are given must hold."""

    model_config = _STRICT

    model: str | None = None
    tenant: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()
    operation: frozenset[str] = frozenset()
    prompt_matches: str | None = Field(None, description="an RE2 pattern, searched in the last user message")
    min_prompt_tokens: int | None = Field(None, ge=0)
    max_prompt_tokens: int | None = Field(None, ge=0)
    has_tools: bool | None = None
    classifier: str | None = Field(None, description="'package.module:function' of (text) -> label")
    label: str | None = None


class Rule(BaseModel):
    """The first rule whose condition holds sends the request to another model's deployments, or to one."""

    model_config = _STRICT

    name: str
    when: Condition = Condition()
    use_model: str = Field(description="whose deployments are taken instead")

    def model_names(self) -> tuple[str, ...]:
        """All that it names."""
        return (self.use_model, *(() if self.when.model is None else (self.when.model,)))
