"""A body of OpenAI's API as a prompt and sampling parameters: pure functions, strict about what they do not know.

https://platform.openai.com/docs/api-reference: `/v1/chat/completions` and `/v1/completions`. A field that is null is
one that is absent. Beside OpenAI's, every parameter of `Sampling` may be given by its own name, as vLLM's users do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean
from trident_client.request import Prompt
from trident_client.sampling import PARAMETERS, Sampling, sampling_of

_RENAMED = {"n": "num_return_sequences", "stop": "stop_words", "max_completion_tokens": "max_tokens"}
# They change nothing in the answer.
_WITHOUT_EFFECT = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user", "stream_options"}
)
# What a field may say when Trident cannot do more than that.
_ONLY: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "stream": (False,),
    "suffix": ("",),
    "tool_choice": ("auto",),
    "top_logprobs": (0,),  # the server says the likeliest tokens by their ids, and OpenAI's answer wants their texts
}


def read_chat(body: Mapping[str, Any], base: Sampling | None = None) -> tuple[Prompt, Sampling]:
    """Of a chat completion; `base`: what holds where the body says nothing.

    Raises:
        InvalidRequestError: an unknown field, with the nearest known one, or a value of the wrong kind.
        UnsupportedParameterError: a field that Trident has nothing for.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise InvalidRequestError("messages must be a list of objects, one at least")
    return messages, _sampling(body, base, {"messages": None, "logprobs": _chat_log_probs})


def read_completion(body: Mapping[str, Any], base: Sampling | None = None) -> tuple[Prompt, Sampling]:
    """Of a completion; the prompt is one text. Errors as of `read_chat`."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise InvalidRequestError("prompt must be one text; lists and token ids are not taken")
    own: _Readers = {"prompt": None, "logprobs": _completion_log_probs, "echo": _echo}
    return prompt, _sampling(body, base, own)


_Reader = Callable[[Any], Mapping[str, Any]]
_Readers = dict[str, _Reader | None]


def _sampling(body: Mapping[str, Any], base: Sampling | None, own: _Readers) -> Sampling:
    readers: _Readers = {"model": None, "response_format": _guide, **own}
    parameters: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in _WITHOUT_EFFECT:
            continue
        if name in readers:
            reader = readers[name]
            parameters |= reader(value) if reader else {}
        elif name in _ONLY:
            if value not in _ONLY[name] or isinstance(value, bool) != isinstance(_ONLY[name][0], bool):
                raise UnsupportedParameterError(f"{name} {value!r} is not supported; leave it out")
        elif _RENAMED.get(name, name) in PARAMETERS:
            parameters[_RENAMED.get(name, name)] = value
        else:
            known = [*readers, *_ONLY, *_RENAMED, *_WITHOUT_EFFECT, *PARAMETERS]
            raise InvalidRequestError(f"unknown field '{name}'{did_you_mean(name, known)}")
    return sampling_of(base, parameters)


def _chat_log_probs(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"logprobs must be true or false, got {value!r}")
    return {"return_log_probs": value}


def _completion_log_probs(value: Any) -> Mapping[str, Any]:
    if value != 0 or isinstance(value, bool):
        raise UnsupportedParameterError(f"logprobs {value!r} is not supported; 0 gives those of the generated tokens")
    return {"return_log_probs": True}


def _echo(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"echo must be true or false, got {value!r}")
    return {"exclude_input_in_output": not value}


def _guide(value: Any) -> Mapping[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"guided_decoding_guide_type": "json"}
    if kind != "json_schema":
        raise InvalidRequestError("response_format.type must be 'text', 'json_object' or 'json_schema'")
    schema = value.get("json_schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise InvalidRequestError("response_format.json_schema.schema must be an object")
    return {"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": schema["schema"]}
