"""A body of OpenAI's API as prompts and sampling parameters: pure functions, strict about what they do not know.

https://platform.openai.com/docs/api-reference: `/v1/chat/completions` and `/v1/completions`. A field that is null is
one that is absent. Beside OpenAI's, parameters of `Sampling` may be given by their own names, as vLLM's users do.
An error names the place in the body (`param`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident_client.openai_fields import INTEGERS, MAX_PROMPTS, Range
from trident_client.openai_parameters import CHAT, COMPLETION, read_integer, read_parameters
from trident_client.openai_tool_choice import guide_of, read_tools
from trident_client.openai_tools import ForcedCalls, described
from trident_client.request import Messages
from trident_client.sampling import Sampling, sampling_of

TokenIds = tuple[int, ...]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """What a body asks for. `sampling` makes `num_choices` sequences of each prompt, or `best_of`, the best to keep."""

    prompts: tuple[str | Messages, ...]  # a chat is one
    sampling: Sampling
    prompt_ids: tuple[TokenIds, ...] = ()  # instead of prompts
    num_choices: int = 1
    best_of: int = 1
    is_streaming: bool = False
    includes_usage: bool = False  # in a stream
    is_echoing: bool = False  # the prompt stands before each text
    forced: ForcedCalls | None = None  # the answer is to be read as tool calls
    user: str = ""
    conversation: str = ""  # requests of one go where its beginning is in the cache


def read_chat(body: Body, base: Sampling | None = None) -> OpenAIRequest:
    """Of a chat completion; `base`: what holds where the body says nothing.

    Raises:
        InvalidRequestError: an unknown field, with the nearest known one, or a value of the wrong kind.
        UnsupportedParameterError: a field that Trident has nothing for.
    """
    messages = _messages(body)
    parameters = read_parameters(body, CHAT)
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise InvalidRequestError("top_logprobs needs logprobs: true", param="top_logprobs")
    tools, forced = read_tools(body)
    if forced is not None:
        messages = described(messages, tools, forced)
        parameters |= guide_of(tools, forced, is_parallel=body.get("parallel_tool_calls") is not False)
    elif tools:
        parameters["tools"] = tools
    return _request(body, (messages,), sampling_of(base, parameters), forced=forced)


def read_completion(body: Body, base: Sampling | None = None) -> OpenAIRequest:
    """Of a completion. Errors as of `read_chat`."""
    prompts, prompt_ids = _prompts(body.get("prompt"))
    parameters = read_parameters(body, COMPLETION)
    request = _request(body, prompts, sampling_of(base, parameters))
    is_echoing = body.get("echo") or False
    if is_echoing and request.sampling.return_log_probs:
        raise UnsupportedParameterError("echo does not go with logprobs: the prompt's are not known", param="echo")
    best_of = read_integer("best_of", body.get("best_of"), Range(1, INTEGERS["n"].high)) or request.num_choices
    if best_of < request.num_choices:
        raise InvalidRequestError(f"best_of must be at least n ({request.num_choices}), got {best_of}", param="best_of")
    if best_of > request.num_choices:
        if request.is_streaming:
            raise InvalidRequestError("best_of above n does not go with stream", param="best_of")
        sampling = replace(request.sampling, num_return_sequences=best_of, return_log_probs=True)
        request = replace(request, sampling=sampling)
    return replace(request, prompt_ids=prompt_ids, is_echoing=is_echoing, best_of=best_of)


def _request(
    body: Body,
    prompts: tuple[str | Messages, ...],
    sampling: Sampling,
    forced: ForcedCalls | None = None,
) -> OpenAIRequest:
    is_streaming = body.get("stream") or False
    options = body.get("stream_options")
    if options is not None and not is_streaming:
        raise InvalidRequestError("stream_options needs stream: true", param="stream_options")
    given, alias = body.get("max_completion_tokens"), body.get("max_tokens")
    if given is not None and alias is not None and given != alias:
        raise InvalidRequestError(
            f"max_tokens ({alias}) and max_completion_tokens ({given}) differ; send one", param="max_tokens"
        )
    return OpenAIRequest(
        prompts,
        sampling,
        num_choices=sampling.num_return_sequences or 1,
        best_of=sampling.num_return_sequences or 1,
        is_streaming=is_streaming,
        includes_usage=bool((options or {}).get("include_usage")),
        forced=forced,
        user=str(body.get("safety_identifier") or body.get("user") or ""),
        conversation=str(body.get("prompt_cache_key") or ""),
    )


def _messages(body: Body) -> Messages:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        code = "missing_required_parameter" if messages is None else "invalid_value"
        raise InvalidRequestError("messages must be a list of objects, one at least", param="messages", code=code)
    for number, message in enumerate(messages):
        content = message.get("content")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("image_url", "input_audio", "file"):
                where = f"messages[{number}].content[{place}]"
                raise UnsupportedParameterError(
                    f"{where}: {kind} parts are not supported; this model reads text", param=f"{where}.type"
                )
    return messages


def _prompts(prompt: Any) -> tuple[tuple[str, ...], tuple[TokenIds, ...]]:
    if isinstance(prompt, str):
        return (prompt,), ()
    if isinstance(prompt, list) and prompt:
        if len(prompt) > MAX_PROMPTS and not _are_ids(prompt):
            raise InvalidRequestError(
                f"prompt has {len(prompt)} prompts, at most {MAX_PROMPTS} are taken", param="prompt"
            )
        if all(isinstance(each, str) for each in prompt):
            return tuple(prompt), ()
        if _are_ids(prompt):
            return (), (tuple(prompt),)
        if all(isinstance(each, list) and each and _are_ids(each) for each in prompt):
            return (), tuple(tuple(each) for each in prompt)
    code = "missing_required_parameter" if prompt is None else "invalid_type"
    raise InvalidRequestError(
        "prompt must be a text, a list of texts, a list of token ids or a list of such lists", param="prompt", code=code
    )


def _are_ids(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in values)
