"""The fields of OpenAI's bodies that are sampling parameters: one reader a field, each strict about its value.

A range, and what a field may only say, is in `openai_fields.py`. Errors name the place in the body (`param`).
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean
from trident_client.openai_fields import (
    EXTRAS,
    INTEGERS,
    MAX_STOPS,
    MOST_COMPLETION_LOGPROBS,
    NUMBERS,
    ONLY,
    RENAMED,
    UNSUPPORTED,
    WITHOUT_EFFECT,
    Range,
)

Reader = Callable[[str, Any], Mapping[str, Any]]  # of a field's name and value, parameters of `Sampling`
_LEAST_TOP_P = 1e-6  # OpenAI's 0 keeps the likeliest token alone; the engine's 0 means 1
_SEEDS = 2**64


def read_parameters(body: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """The parameters of `Sampling` in a body, by `CHAT` or `COMPLETION`.

    Raises:
        InvalidRequestError: an unknown field, with the nearest known one, or a value that it cannot have.
        UnsupportedParameterError: a field, or a value of it, that Trident has nothing for.
    """
    parameters: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in WITHOUT_EFFECT:
            continue
        reader = readers.get(name)
        if reader is None:
            if name in UNSUPPORTED:
                raise UnsupportedParameterError(f"{name} is not supported; leave it out", param=name)
            known = [*readers, *WITHOUT_EFFECT]
            raise InvalidRequestError(
                f"unknown field '{name}'{did_you_mean(name, known)}", param=name, code="unknown_parameter"
            )
        parameters |= reader(name, value)
    return parameters


def _nothing(_name: str, _value: Any) -> Mapping[str, Any]:
    """Read elsewhere, together with other fields."""
    return {}


def _as_it_is(name: str, value: Any) -> Mapping[str, Any]:
    return {name: value}


def _flag(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, bool):
        raise wrong_type(name, "true or false", value)
    return {}


def _only(name: str, value: Any) -> Mapping[str, Any]:
    allowed = ONLY[name]
    if value not in allowed or isinstance(value, bool) != isinstance(allowed[0], bool):
        raise UnsupportedParameterError(f"{name} {reprlib.repr(value)} is not supported; leave it out", param=name)
    return {}


def _number(name: str, value: Any) -> Mapping[str, Any]:
    low, high = NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, "a number", value)
    if not low <= value <= high:
        raise InvalidRequestError(f"{name} must be in {low}..{high}, got {value}", param=name)
    return {name: max(value, _LEAST_TOP_P) if name == "top_p" else value}


def read_integer(name: str, value: Any, bounds: Range) -> int | None:
    """The value of a field that is a whole number; raises InvalidRequestError."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer", value)
    if not bounds.low <= value <= bounds.high:
        raise InvalidRequestError(f"{name} must be in {bounds.low}..{bounds.high}, got {value}", param=name)
    return value


def _count(name: str, value: Any) -> Mapping[str, Any]:
    number = read_integer(name, value, INTEGERS[name])
    if name == "top_logprobs" and number == 0:
        return {}
    return {RENAMED.get(name, name): number % _SEEDS if name == "seed" and number is not None else number}


def _stop(name: str, value: Any) -> Mapping[str, Any]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise wrong_type(name, "a text or a list of texts", value)
    if not 1 <= len(words) <= MAX_STOPS:
        raise InvalidRequestError(f"stop must have 1..{MAX_STOPS} texts, got {len(words)}", param=name)
    return {"stop_words": words}


def _stream_options(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    for key, given in value.items():
        if key not in {"include_usage", "include_obfuscation"}:
            raise InvalidRequestError(f"unknown field '{name}.{key}'", param=f"{name}.{key}", code="unknown_parameter")
        if not isinstance(given, bool):
            raise wrong_type(f"{name}.{key}", "true or false", given)
    if value.get("include_obfuscation"):
        raise UnsupportedParameterError(
            "stream_options.include_obfuscation is not supported; leave it out", param=f"{name}.include_obfuscation"
        )
    return {}


def _chat_log_probs(name: str, value: Any) -> Mapping[str, Any]:
    _flag(name, value)
    return {"return_log_probs": value}


def _completion_log_probs(name: str, value: Any) -> Mapping[str, Any]:
    number = read_integer(name, value, Range(0, MOST_COMPLETION_LOGPROBS))
    return {"return_log_probs": True, **({"top_logprobs": number} if number else {})}


def _response_format(name: str, value: Any) -> Mapping[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"guided_decoding_guide_type": "json"}
    if kind != "json_schema":
        raise InvalidRequestError(
            "response_format.type must be 'text', 'json_object' or 'json_schema'", param=f"{name}.type"
        )
    schema = value.get("json_schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise InvalidRequestError(
            "response_format.json_schema.schema must be an object", param=f"{name}.json_schema.schema"
        )
    return {"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": schema["schema"]}


_COMMON: dict[str, Reader] = {
    **dict.fromkeys(EXTRAS, _as_it_is),
    **dict.fromkeys(ONLY, _only),
    **dict.fromkeys(NUMBERS, _number),
    **dict.fromkeys(INTEGERS, _count),
    "stop": _stop,
    "stream": _flag,
    "stream_options": _stream_options,
}
CHAT: dict[str, Reader] = {
    **{name: reader for name, reader in _COMMON.items() if name != "suffix"},
    "messages": _nothing,
    "logprobs": _chat_log_probs,
    "response_format": _response_format,
    "tools": _nothing,
    "tool_choice": _nothing,
    "retrieval": _nothing,  # documents to answer from: the gateway's
    "parallel_tool_calls": _flag,
}
COMPLETION: dict[str, Reader] = {
    **{name: _COMMON[name] for name in _COMMON if name not in {"modalities", "top_logprobs", "max_completion_tokens"}},
    "prompt": _nothing,
    "logprobs": _completion_log_probs,
    "response_format": _response_format,  # as vLLM takes it here too
    "echo": _flag,
    "best_of": _nothing,
}


def wrong_type(name: str, expected: str, value: Any) -> InvalidRequestError:
    """The refusal of a value of another kind."""
    return InvalidRequestError(f"{name} must be {expected}, got {reprlib.repr(value)}", param=name, code="invalid_type")
