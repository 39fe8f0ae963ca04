"""A completion, or an error, as a body of OpenAI's API: pure functions. `openai_request.py` is the other way."""

from __future__ import annotations

from typing import Any

from trident.errors import RateLimitError, TridentError, codes_of
from trident_client.completion import Completion

Json = dict[str, Any]


def chat_body(completion: Completion, model: str, created: int) -> Json:
    """The body of `/v1/chat/completions`; `created`: seconds since 1970."""
    choices = [
        {
            "index": index,
            "message": _message(each),
            "logprobs": _chat_log_probs(each),
            "finish_reason": each.finish_reason or None,
        }
        for index, each in enumerate((completion, *completion.others))
    ]
    return _body("chatcmpl", "chat.completion", completion, model, created, choices)


def completion_body(completion: Completion, model: str, created: int) -> Json:
    """The body of `/v1/completions`; `created`: seconds since 1970."""
    choices = [
        {
            "index": index,
            "text": each.text,
            "logprobs": _completion_log_probs(each),
            "finish_reason": each.finish_reason or None,
        }
        for index, each in enumerate((completion, *completion.others))
    ]
    return _body("cmpl", "text_completion", completion, model, created, choices)


def error_body(error: TridentError) -> Json:
    """The value of `error` in a body: all four keys."""
    codes = codes_of(error)
    return {
        "message": error.message,
        "type": error.kind if isinstance(error, RateLimitError) else codes.openai_type,
        "param": error.param,
        "code": error.code or codes.openai_code,
    }


def usage_of(completion: Completion) -> Json:
    """Tokens of all sequences; what the server did not count is 0."""
    num_input = completion.num_input_tokens or 0
    num_output = sum(each.num_output_tokens or 0 for each in (completion, *completion.others))
    return {"prompt_tokens": num_input, "completion_tokens": num_output, "total_tokens": num_input + num_output}


def _body(prefix: str, kind: str, completion: Completion, model: str, created: int, choices: list[Json]) -> Json:
    return {
        "id": f"{prefix}-{completion.request_id}",
        "object": kind,
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage_of(completion),
    }


def _message(completion: Completion) -> Json:
    message: Json = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["tool_calls"] = [dict(call) for call in completion.tool_calls]
    return message


def _chat_log_probs(completion: Completion) -> Json | None:
    if not completion.log_probs:
        return None
    content = [
        {
            "token": token.decode("utf-8", "replace"),
            "logprob": log_prob,
            "bytes": list(token),
            "top_logprobs": [],
        }
        for token, log_prob in zip(completion.token_texts, completion.log_probs, strict=False)
    ]
    return {"content": content, "refusal": None}


def _completion_log_probs(completion: Completion) -> Json | None:
    if not completion.log_probs:
        return None
    return {
        "tokens": [token.decode("utf-8", "replace") for token in completion.token_texts],
        "token_logprobs": list(completion.log_probs),
        "top_logprobs": None,
        "text_offset": [],
    }
