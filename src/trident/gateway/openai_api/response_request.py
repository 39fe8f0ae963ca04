"""A body of `/v1/responses` as a chat that asks the same, and as what its response says of it: pure functions.

The chat is read by `trident_client.openai_request`, so that both APIs mean the same by a tool, a schema or a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.openai_api.refusals import in_openai_words
from trident.gateway.openai_api.response_items import messages_of
from trident.gateway.openai_api.stored_bodies import check_fields, metadata_of, text_of, unknown_parameter
from trident_client.openai_fields import EXTRAS
from trident_client.openai_request import OpenAIRequest, read_chat
from trident_client.sampling import Sampling

Json = dict[str, Any]
_BASE = Sampling(temperature=1.0)  # OpenAI's default; the engine's own is greedy
_LOG_PROBS = "message.output_text.logprobs"
# Sent on as they are: named alike in a chat.
_ALIKE = ("temperature", "top_p", "parallel_tool_calls", "seed", "stop", "user", "safety_identifier", "service_tier",
          "prompt_cache_key", "top_logprobs", "stream", "frequency_penalty", "presence_penalty", *EXTRAS)  # fmt: skip
_FIELDS = ("model", "input", "instructions", "previous_response_id", "store", "stream_options", "metadata",
           "max_output_tokens", "text", "tools", "tool_choice", "include", "truncation", "background",
           *_ALIKE)  # fmt: skip
_UNSUPPORTED = ("access_programs", "background_options", "context_management", "conversation", "image",
                "max_tool_calls", "moderation", "prompt", "prompt_cache_options", "prompt_cache_retention",
                "reasoning")  # fmt: skip
# What a field of a chat is called here.
_NAMES = {
    "messages": "input", "max_completion_tokens": "max_output_tokens", "response_format.json_schema": "text.format",
    "response_format": "text.format", ".function.name": ".name", ".function.parameters": ".parameters",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """What a body asks for, but for the conversation that it goes on with."""

    body: Json
    model: str
    instructions: str | None
    previous_response_id: str | None
    is_stored: bool
    is_streaming: bool
    has_log_probs: bool
    num_top: int  # likeliest tokens that are told of each
    metadata: dict[str, str]
    tools: list[Json]


def read_response(body: Json) -> ResponseRequest:
    """Everything but the input.

    Raises:
        UnsupportedParameterError: OpenAI's API has the field, or the value, and this gateway does not.
        InvalidRequestError: nobody has it, or it is wrong; names it.
    """
    check_fields(body, _FIELDS, _UNSUPPORTED)
    if _flag(body, "background"):
        raise UnsupportedParameterError("background is not supported; stream instead", param="background")
    if body.get("truncation") not in (None, "disabled"):
        raise UnsupportedParameterError("truncation must be 'disabled'", param="truncation")
    for number, name in enumerate(_list(body, "include")):
        if name != _LOG_PROBS:
            raise UnsupportedParameterError(f"include can name {_LOG_PROBS} only", param=f"include[{number}]")
    is_streaming = _flag(body, "stream")
    if body.get("stream_options") is not None:
        _check_stream_options(body["stream_options"], is_streaming)
    return ResponseRequest(
        body,
        model=text_of(body, "model", is_required=True) or "",
        instructions=text_of(body, "instructions"),
        previous_response_id=text_of(body, "previous_response_id"),
        is_stored=body.get("store") is None or _flag(body, "store"),
        is_streaming=is_streaming,
        has_log_probs=_LOG_PROBS in _list(body, "include"),
        num_top=body.get("top_logprobs") or 0,
        metadata=metadata_of(body),
        tools=[_tool(tool, f"tools[{number}]") for number, tool in enumerate(_list(body, "tools"))],
    )


def read_as_chat(request: ResponseRequest, items: Sequence[Mapping[str, Any]]) -> OpenAIRequest:
    """The chat; `items`: the whole conversation. Errors as of `read_response`."""
    body = request.body
    chat: Json = {name: body[name] for name in _ALIKE if body.get(name) is not None}
    chat["messages"] = messages_of(request.instructions, items)
    chat["max_completion_tokens"] = body.get("max_output_tokens")
    chat["response_format"] = _response_format(body)
    chat["logprobs"] = request.has_log_probs or None
    if request.tools:
        names = ("name", "description", "parameters", "strict")
        chat["tools"] = [
            {"type": "function", "function": {name: tool[name] for name in names if tool[name] is not None}}
            for tool in request.tools
        ]
    chat["tool_choice"] = _tool_choice(body.get("tool_choice"))
    if body.get("top_logprobs") and not request.has_log_probs:
        raise InvalidRequestError(f"top_logprobs needs include: ['{_LOG_PROBS}']", param="top_logprobs")
    with _renaming():
        return read_chat(chat, _BASE)


@contextmanager
def in_words_of_responses(chat: OpenAIRequest) -> Iterator[None]:
    """Refusals that leave, the server's among them, name the field of a body of `/v1/responses`."""
    with _renaming(), in_openai_words(chat, "input"):
        yield


def response_object(request: ResponseRequest, response_id: str, created_at: int) -> Json:
    """The response as it begins, with all that it repeats of the request."""
    body = request.body
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": request.metadata,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": request.is_stored,
        "temperature": 1.0 if body.get("temperature") is None else body["temperature"],
        "text": {"format": _text_format(body) or {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": request.tools,
        "top_logprobs": request.num_top,
        "top_p": 1.0 if body.get("top_p") is None else body["top_p"],
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }


def _tool(tool: Any, where: str) -> Json:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind != "function":
        raise UnsupportedParameterError(f"{where}: only functions are tools", param=f"{where}.type")
    for name in tool:
        if name not in {"type", "name", "description", "parameters", "strict"} and tool[name] is not None:
            raise unknown_parameter(f"{where}.{name[:64]}")
    if not isinstance(tool.get("name"), str):
        raise InvalidRequestError(
            f"{where}.name must be a text", param=f"{where}.name", code="missing_required_parameter"
        )
    return {"type": "function", **{name: tool.get(name) for name in ("name", "description", "parameters", "strict")}}


def _tool_choice(choice: Any) -> Any:
    """A chat names a function one level deeper."""
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _text_format(body: Mapping[str, Any]) -> Json | None:
    text = body.get("text")
    if text is None:
        return None
    if not isinstance(text, dict):
        raise InvalidRequestError("text must be an object", param="text", code="invalid_type")
    for name in text:
        if name not in {"format", "verbosity"}:
            raise unknown_parameter(f"text.{name[:64]}")
    if text.get("verbosity") not in (None, "medium"):
        raise UnsupportedParameterError("text.verbosity must be 'medium'", param="text.verbosity")
    form = text.get("format")
    if form is not None and not isinstance(form, dict):
        raise InvalidRequestError("text.format must be an object", param="text.format", code="invalid_type")
    return form


def _response_format(body: Mapping[str, Any]) -> Json | None:
    form = _text_format(body)
    if form is None or form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {name: form[name] for name in form if name != "type"}}


def _check_stream_options(options: Any, is_streaming: bool) -> None:
    if not is_streaming:
        raise InvalidRequestError("stream_options needs stream: true", param="stream_options")
    if not isinstance(options, dict) or set(options) - {"include_obfuscation"}:
        raise InvalidRequestError("stream_options can hold include_obfuscation only", param="stream_options")
    if options.get("include_obfuscation"):
        raise UnsupportedParameterError(
            "stream_options.include_obfuscation is not supported; leave it out",
            param="stream_options.include_obfuscation",
        )


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be true or false", param=name, code="invalid_type")
    return bool(value)


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, list):
        raise InvalidRequestError(f"{name} must be a list", param=name, code="invalid_type")
    return value or []


@contextmanager
def _renaming() -> Iterator[None]:
    try:
        yield
    except InvalidRequestError as exc:
        exc.param = _renamed(exc.param or "") or None
        exc.args = (_renamed(exc.message),)
        raise


def _renamed(text: str) -> str:
    for theirs, ours in _NAMES.items():
        text = text.replace(theirs, ours)
    return text
