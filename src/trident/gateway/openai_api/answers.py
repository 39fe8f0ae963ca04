"""The bodies that the gateway answers with, as types: for the OpenAPI document and for who reads it.

Answers are not made from these; `trident_client.openai_response` and `events.py` write them, and tests compare the two.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from trident.gateway.openai_api.bodies import CalledFunction

_EXACT = ConfigDict(extra="forbid")
_EVENT = {
    "type": "object",
    "description": "of server-sent events, each",
    "properties": {"data": {"type": "string", "description": "a chunk as JSON, an error object, or [DONE]"}},
    "required": ["data"],
}
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class _Part(BaseModel):
    model_config = _EXACT


class PromptDetails(_Part):
    """Of the tokens of a prompt."""

    cached_tokens: int


class CompletionDetails(_Part):
    """Of the generated tokens."""

    reasoning_tokens: int


class Usage(_Part):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class ToolCall(_Part):
    """That the model asks for."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class UrlCitation(_Part):
    """A passage of a document; indexes count characters of the content."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(_Part):
    """A mark of the content that names a passage."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class AnswerMessage(_Part):
    """The assistant's."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    annotations: list[Annotation] | None = None


class GivenPassage(_Part):
    """That the model was given; `finding`: what its words try to do."""

    number: int
    document: str
    place: str
    score: float
    text: str
    finding: str | None = None


class Retrieved(_Part):
    """Where the passages are from; `left_out`: how many did not fit."""

    collection: str
    version: str
    passages: list[GivenPassage]
    left_out: int


class TopLogProb(_Part):
    """Of a token that might have been."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogProb(TopLogProb):
    """Of one generated token."""

    top_logprobs: list[TopLogProb]


class ChatLogProbs(_Part):
    """Of the content."""

    content: list[TokenLogProb]
    refusal: None


class ChatChoice(_Part):
    """One of `n`."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogProbs | None
    finish_reason: FinishReason | None


class ChatCompletion(_Part):
    """The answer of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    retrieval: Retrieved | None = None


class TextLogProbs(_Part):
    """Of the tokens of a completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(_Part):
    """One of `n` for each prompt."""

    index: int
    text: str
    logprobs: TextLogProbs | None
    finish_reason: FinishReason | None


class TextCompletion(_Part):
    """The answer of `/v1/completions`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str


class Model(_Part):
    """A name that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Part):
    """Those that the key may ask."""

    object: Literal["list"]
    data: list[Model]


class Tokenized(_Part):
    """The answer of `/tokenize`."""

    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(_Part):
    """The answer of `/detokenize`."""

    prompt: str


def answers(model: type[BaseModel], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """`responses` of an operation that answers with it, as JSON or in events."""
    described: dict[str, Any] = {"model": model, "description": "The answer."}
    if streams:
        described["content"] = {"text/event-stream": {"schema": _EVENT}}
    return {200: described}
