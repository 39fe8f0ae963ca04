"""The bodies that clients send, as types: for the OpenAPI document, and to name what is wrong deep inside of one.

What a field means, and the refusals that need its meaning, are `trident_client.openai_request`'s, which has the tables
of ranges that stand here too. Unions of simple values are described here and checked there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema, create_model

from trident.gateway.retrieval.settings import MAX_PASSAGES
from trident_client.openai_fields import EXTRAS, INTEGERS, MAX_CHOICES, MAX_STOPS, MOST_COMPLETION_LOGPROBS, NUMBERS
from trident_client.sampling import PARAMETERS

_STRICT = ConfigDict(extra="forbid", strict=True)
_PYTHON: dict[str, Any] = {"BOOL": bool, "STRING": str, "FP32": float, "FP16": float}
Integer64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Id = Annotated[int, Field(ge=0, lt=2**31)]


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type, without references."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(schema, definitions)
    return inlined


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        target = definitions[value["$ref"].rpartition("/")[2]]
        return _inlined({**target, **{key: each for key, each in value.items() if key != "$ref"}}, definitions)
    return {key: _inlined(each, definitions) for key, each in value.items()}


def _described(kind: Any) -> Any:
    """In the document as `kind`; not checked by pydantic, whose errors of a union say little."""
    return Annotated[Any, WithJsonSchema(schema_of(kind))]


def _within(name: str) -> Any:
    low, high = (NUMBERS | INTEGERS)[name]
    return Field(None, ge=low, le=high)


class _Part(BaseModel):
    model_config = _STRICT


class TextPart(_Part):
    """The only part of a message that a text model reads."""

    type: Literal["text"]
    text: str


class CalledFunction(_Part):
    """What the model asks for; `arguments` is JSON as text."""

    name: str
    arguments: str


class ToolCall(_Part):
    """A call in an earlier answer."""

    id: str
    type: Literal["function"]
    function: CalledFunction
    index: int | None = None  # of a delta, which some clients send back


Content = str | list[TextPart]


class Message(_Part):
    """Of any role. What comes with an answer may be sent back with it."""

    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class Function(_Part):
    """A function that the model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Part):
    """Functions are the only kind."""

    type: Literal["function"]
    function: Function


class FunctionName(_Part):
    """By which a tool is chosen."""

    name: str


class ToolChoice(_Part):
    """The function that has to be called."""

    type: Literal["function"]
    function: FunctionName


class JsonSchema(_Part):
    """What the answer has to keep."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Part):
    """Text, any JSON, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Part):
    """Of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


def _extra(name: str) -> tuple[Any, Any]:
    """A parameter of the ensemble; the server checks its value."""
    dtype = PARAMETERS[name]
    if name in {"chat_template_kwargs"}:
        return (dict[str, Any] | None, None)
    if name == "guided_decoding_guide":
        return (_described(str | dict[str, Any] | None), None)
    if name in {"bad_words", "embedding_bias_words"}:
        return (list[str] | None, None)
    if name == "embedding_bias_weights":
        return (list[float] | None, None)
    kind = _PYTHON.get(dtype, Annotated[int, Field(ge=-(2**31), lt=2**31)])
    return (kind | None, None)


class RetrievalWish(_Part):
    """Documents to answer from, beside what the model's route says."""

    collection: str | None = Field(None, min_length=1, max_length=64, description="of the tenant")
    top_k: int | None = Field(None, ge=0, le=MAX_PASSAGES, description="passages at most; 0: none at all")
    min_score: float | None = Field(None, ge=-1, le=1, description="least cosine of a passage and the question")
    max_context_tokens: int | None = Field(None, ge=1, description="of all passages; at most the route's own")


class _Sampled(_Part):
    """What chats and completions share."""

    model: str = Field(min_length=1)
    frequency_penalty: float | None = _within("frequency_penalty")
    logit_bias: dict[str, float] | None = Field(None, max_length=0, description="not supported")
    max_tokens: int | None = _within("max_tokens")
    metadata: dict[str, str] | None = Field(None, max_length=16)
    n: int | None = _within("n")
    presence_penalty: float | None = _within("presence_penalty")
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: Integer64 | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    stop: _described(str | Annotated[list[str], Field(min_length=1, max_length=MAX_STOPS)] | None) = None  # type: ignore[valid-type]
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = _within("temperature")
    top_p: float | None = _within("top_p")
    user: str | None = None


class _Chat(_Sampled):
    messages: list[Message] = Field(min_length=1)
    logprobs: bool | None = None
    max_completion_tokens: int | None = _within("max_completion_tokens")
    modalities: list[Literal["text"]] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: Literal["medium"] | None = None
    retrieval: RetrievalWish | None = None
    tool_choice: _described(Literal["none", "auto", "required"] | ToolChoice | None) = None  # type: ignore[valid-type]
    tools: list[Tool] | None = Field(None, max_length=128)
    top_logprobs: int | None = _within("top_logprobs")
    verbosity: Literal["medium"] | None = None


class _Completion(_Sampled):
    prompt: _described(str | list[str] | list[Id] | list[list[Id]])  # type: ignore[valid-type]
    best_of: int | None = Field(None, ge=1, le=MAX_CHOICES)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MOST_COMPLETION_LOGPROBS)
    suffix: Literal[""] | None = None


_EXTRAS: dict[str, Any] = {name: _extra(name) for name in EXTRAS}
ChatBody = create_model("ChatBody", __base__=_Chat, __doc__="Of `/v1/chat/completions`.", **_EXTRAS)
CompletionBody = create_model("CompletionBody", __base__=_Completion, __doc__="Of `/v1/completions`.", **_EXTRAS)


class TokenizeBody(_Part):
    """Of `/tokenize`: a prompt, or the messages of a chat, as the model sees them."""

    model: str = Field(min_length=1)
    prompt: str | None = None
    messages: list[Message] | None = Field(None, min_length=1)
    tools: list[Tool] | None = Field(None, max_length=128)
    add_special_tokens: bool | None = Field(None, description="of a prompt; true by default")
    add_generation_prompt: bool | None = Field(None, description="of messages; true by default")
    return_token_strs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class DetokenizeBody(_Part):
    """Of `/detokenize`."""

    model: str = Field(min_length=1)
    tokens: list[Id]
