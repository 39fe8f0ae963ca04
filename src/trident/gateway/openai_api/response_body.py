"""The body of `/v1/responses` as the OpenAPI document shows it; `response_request.py` reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from trident_client.openai_fields import INTEGERS, NUMBERS


class FunctionTool(BaseModel):
    """A function that the model may call."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(BaseModel):
    """Text, any JSON, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class Text(BaseModel):
    """How the answer is written."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class ResponseBody(BaseModel):
    """Of `/v1/responses`."""

    model: str = Field(min_length=1)
    input: str | list[dict[str, Any]] = Field(description="a text, or messages, function calls, outputs, references")
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = Field(None, description="true by default")
    stream: bool | None = None
    metadata: dict[str, str] | None = Field(None, max_length=16)
    max_output_tokens: int | None = Field(None, ge=1, le=INTEGERS["max_tokens"].high)
    temperature: float | None = Field(None, ge=NUMBERS["temperature"].low, le=NUMBERS["temperature"].high)
    top_p: float | None = Field(None, ge=NUMBERS["top_p"].low, le=NUMBERS["top_p"].high)
    text: Text | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=INTEGERS["top_logprobs"].high, description="with include")
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
