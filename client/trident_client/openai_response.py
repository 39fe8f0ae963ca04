"""A completion, or an error, as a body of OpenAI's API: pure functions. `openai_request.py` is the other way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trident.errors import RateLimitError, TridentError, codes_of
from trident_client.completion import Completion, Delta
from trident_client.openai_tools import ForcedCalls, GuidedCalls, call_id

Json = dict[str, Any]
Names = Mapping[int, bytes]  # token id -> the bytes of its text
_NO_NAMES: Names = {}


def chat_body(
    completion: Completion,
    model: str,
    created: int,
    *,
    forced: ForcedCalls | None = None,
    fingerprint: str | None = None,
    names: Names = _NO_NAMES,
) -> Json:
    """The body of `/v1/chat/completions`.

    `created`: seconds since 1970. `forced`: how the text is read as tool calls. `names`: of `top_ids`.
    """
    choices = [
        {
            "index": index,
            "message": _message(completion.request_id, index, each, forced),
            "logprobs": chat_log_probs(each, names),
            "finish_reason": finish_reason_of(each.finish_reason, forced),
        }
        for index, each in enumerate((completion, *completion.others))
    ]
    return {
        "id": f"chatcmpl-{completion.request_id}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage_of(completion),
        **({} if fingerprint is None else {"system_fingerprint": fingerprint}),
    }


def completion_body(
    completions: Sequence[Completion],
    model: str,
    created: int,
    *,
    echoes: Sequence[str] = (),
    num_choices: int | None = None,
    fingerprint: str | None = None,
    names: Names = _NO_NAMES,
) -> Json:
    """The body of `/v1/completions`, of one prompt or several.

    `echoes`: what stands before the texts of each prompt. `num_choices`: of each prompt, the best ones where more came.
    """
    choices: list[Json] = []
    for number, completion in enumerate(completions):
        echo = echoes[number] if echoes else ""
        sequences = _best((completion, *completion.others), num_choices)
        for each in sequences:
            choices.append(
                {
                    "index": len(choices),
                    "text": echo + each.text,
                    "logprobs": completion_log_probs(each, names=names),
                    "finish_reason": each.finish_reason or None,
                }
            )
    return {
        "id": f"cmpl-{completions[0].request_id}",
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage_of(*completions),
        **({} if fingerprint is None else {"system_fingerprint": fingerprint}),
    }


def error_body(error: TridentError) -> Json:
    """The value of `error` in a body: all four keys."""
    codes = codes_of(error)
    return {
        "message": error.message,
        "type": error.kind if isinstance(error, RateLimitError) else codes.openai_type,
        "param": error.param,
        "code": error.code or codes.openai_code,
    }


def usage_of(*completions: Completion) -> Json:
    """Tokens of all sequences; what the server did not count is 0."""
    sequences = [each for completion in completions for each in (completion, *completion.others)]
    return usage_body(
        sum(completion.num_input_tokens or 0 for completion in completions),
        sum(each.num_output_tokens or 0 for each in sequences),
        sum(completion.num_cached_tokens or 0 for completion in completions),
        sum(
            num_reasoning_tokens(each.num_output_tokens or 0, len(each.reasoning), len(each.text)) for each in sequences
        ),
    )


def usage_body(num_input: int, num_output: int, num_cached: int = 0, num_reasoning: int = 0) -> Json:
    """The value of `usage`."""
    return {
        "prompt_tokens": num_input,
        "completion_tokens": num_output,
        "total_tokens": num_input + num_output,
        "prompt_tokens_details": {"cached_tokens": num_cached},
        "completion_tokens_details": {"reasoning_tokens": num_reasoning},
    }


def num_reasoning_tokens(num_output: int, num_reasoning_chars: int, num_text_chars: int) -> int:
    """An estimate by the share of the text, as the engine counts both together; exact where one of them is none."""
    num_chars = num_reasoning_chars + num_text_chars
    return round(num_output * num_reasoning_chars / num_chars) if num_chars else 0


def finish_reason_of(reason: str, forced: ForcedCalls | None = None) -> str | None:
    """OpenAI's; of an answer that ended where its guide ends, and is to be read as calls, "tool_calls"."""
    return "tool_calls" if forced is not None and reason == "stop" else reason or None


def chat_log_probs(answer: Delta | Completion, names: Names = _NO_NAMES) -> Json | None:
    """The value of `logprobs` in a choice of a chat; None where none were asked for. `names`: of `top_ids`."""
    if not answer.log_probs:
        return None
    top: Sequence[Sequence[tuple[bytes, float]]] = _top(answer, names) or [()] * len(answer.log_probs)
    content = [
        {**_token(token, log_prob), "top_logprobs": [_token(*each) for each in likeliest]}
        for token, log_prob, likeliest in zip(answer.token_texts, answer.log_probs, top, strict=False)
    ]
    return {"content": content, "refusal": None}


def completion_log_probs(answer: Delta | Completion, num_chars: int = 0, names: Names = _NO_NAMES) -> Json | None:
    """Likewise, of a completion; `num_chars`: of the text before these tokens, for `text_offset`."""
    if not answer.log_probs:
        return None
    offsets, seen = [], b""
    for token in answer.token_texts:
        offsets.append(num_chars + len(seen.decode("utf-8", "ignore")))
        seen += token
    top = [{_text(token): log_prob for token, log_prob in likeliest} for likeliest in _top(answer, names)]
    return {
        "tokens": [_text(token) for token in answer.token_texts],
        "token_logprobs": list(answer.log_probs),
        "top_logprobs": top or None,
        "text_offset": offsets,
    }


def _top(answer: Delta | Completion, names: Names) -> list[list[tuple[bytes, float]]]:
    """Of each token, the likeliest ones; ids below 0 are padding."""
    return [
        [(names[token_id], log_prob) for token_id, log_prob in zip(ids, log_probs, strict=True) if token_id >= 0]
        for ids, log_probs in zip(answer.top_ids, answer.top_log_probs, strict=True)
    ]


def _token(token: bytes, log_prob: float) -> Json:
    return {"token": _text(token), "logprob": log_prob, "bytes": list(token)}


def _text(token: bytes) -> str:
    return token.decode("utf-8", "replace")


def _best(sequences: Sequence[Completion], num_choices: int | None) -> Sequence[Completion]:
    """Those with the highest log-probability per token, in this order, where there are more than are wanted."""
    if num_choices is None or len(sequences) <= num_choices:
        return sequences

    def score(each: Completion) -> float:
        return sum(each.log_probs) / max(1, len(each.log_probs))

    return sorted(sequences, key=score, reverse=True)[:num_choices]


def _message(request_id: str, index: int, completion: Completion, forced: ForcedCalls | None) -> Json:
    calls = [dict(call) for call in completion.tool_calls]
    text: str | None = completion.text
    if forced is not None:
        calls, text = _forced_calls(request_id, index, completion.text, forced), None
    elif calls:
        calls = [{key: value for key, value in call.items() if key != "index"} for call in calls]
        text = text or None
    message: Json = {"role": "assistant", "content": text, "refusal": None}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if calls:
        message["tool_calls"] = calls
    return message


def _forced_calls(request_id: str, index: int, text: str, forced: ForcedCalls) -> list[Json]:
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in GuidedCalls(forced).feed(text):
        if piece.name is not None:
            names[piece.index] = piece.name
        arguments[piece.index] = arguments.get(piece.index, "") + piece.arguments
    return [
        {
            "id": call_id(request_id, index, number),
            "type": "function",
            "function": {"name": name, "arguments": arguments[number]},
        }
        for number, name in names.items()
    ]
