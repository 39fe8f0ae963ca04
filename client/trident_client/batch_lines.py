"""The lines of a batch job's files: pure functions from an input line to a request, and from a result to a line.

Input is either JSON, one object a line (OpenAI's batch line, or `{"prompt": ...}` with sampling parameters), or plain
text, one prompt a line. https://platform.openai.com/docs/guides/batch
It knows nothing of files, of servers or of the order of things.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from trident.errors import InvalidRequestError, TridentError, UnsupportedParameterError, codes_of, did_you_mean
from trident_client.batch import BatchRequest
from trident_client.completion import Completion
from trident_client.openai_request import OpenAIRequest, read_chat, read_completion
from trident_client.openai_response import chat_body, completion_body, error_body, usage_of
from trident_client.sampling import PARAMETERS, Sampling, sampling_of

Format = Literal["json", "text"]
Json = dict[str, Any]
ID_PREFIX = b'{"id": "batch_req_'  # how every line begins that is written here
_ID = re.compile(r"batch_req_(\d+)_([0-9a-f]{8})")
_READERS: dict[str, Callable[[Mapping[str, Any], Sampling | None], OpenAIRequest]] = {
    "/v1/chat/completions": read_chat,
    "/v1/completions": read_completion,
}
_DEFAULTS = Sampling()
_KEYS = ("custom_id", "method", "url", "body")


@dataclass(frozen=True, slots=True)
class Task:
    """What one input line asks for."""

    number: int  # of the line, from 1
    digest: str  # of the line, of the job's defaults and of its model
    custom_id: str | None = None
    url: str | None = None  # of OpenAI's line; None for a plain prompt
    model: str = ""  # as the line calls it
    request: BatchRequest | None = None  # None: the line is wrong
    openai: OpenAIRequest | None = None  # of OpenAI's line, what its answer is written by
    error: InvalidRequestError | None = None  # why

    @property
    def id(self) -> str:
        """The same in every run over the same input."""
        return f"batch_req_{self.number}_{self.digest}"


def is_blank(line: bytes) -> bool:
    """Whether it asks for nothing."""
    return not line.strip()


def format_of(line: bytes) -> Format:
    """Of an input whose first line that is not blank this is."""
    return "json" if line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "text"


def digest_of(line: bytes, base: Sampling, form: Format, model: str) -> str:
    """Changes when another answer could be due."""
    changed = {name: value for name in PARAMETERS if (value := getattr(base, name)) != getattr(_DEFAULTS, name)}
    return hashlib.blake2s(
        line.strip(b"\r\n") + b"\0" + repr((changed, form, model)).encode(), digest_size=4
    ).hexdigest()


def read_line(number: int, line: bytes, form: Format, base: Sampling, model: str) -> Task:
    """The task of an input line; one that cannot be asked carries its error. `model`: what the whole job asks."""
    task = Task(number, digest_of(line, base, form, model))
    try:
        text = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode("utf-8").rstrip("\r\n")
        if form == "text":
            return replace(task, request=BatchRequest(text, base))
        fields = _object(text)
        task = replace(task, custom_id=_custom_id(fields))
        if "prompt" in fields and "body" not in fields:
            return replace(task, request=_plain_request(fields, base))
        return _read_openai(task, fields, base)
    except UnicodeDecodeError as exc:
        return replace(task, error=InvalidRequestError(f"not valid UTF-8 (byte {exc.start})"))
    except InvalidRequestError as exc:
        return replace(task, error=exc)


def read_answered(line: bytes) -> tuple[int, str] | None:
    """The number and the digest of the input line that an output line answers; None: it is no such line."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    found = _ID.fullmatch(str(fields.get("id"))) if isinstance(fields, dict) else None
    return (int(found[1]), found[2]) if found else None


def answer_line(task: Task, completion: Completion, created: int) -> bytes:
    """As OpenAI's batch answers its own lines, and simpler for a plain prompt; `created`: seconds since 1970."""
    if task.url is None:
        answer: Json = {
            "id": task.id,
            "line": task.number,
            **({} if task.custom_id is None else {"custom_id": task.custom_id}),
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "usage": usage_of(completion),
        }
        if completion.others:
            answer["others"] = [{"text": each.text, "finish_reason": each.finish_reason} for each in completion.others]
        return _line(answer)
    response = {"status_code": 200, "request_id": completion.request_id, "body": _body(task, completion, created)}
    return _line({"id": task.id, "custom_id": task.custom_id, "response": response, "error": None})


def _body(task: Task, completion: Completion, created: int) -> Json:
    asked = task.openai
    if asked is None or task.url == "/v1/chat/completions":
        return chat_body(completion, task.model, created, forced=asked.forced if asked else None)
    echoes = tuple(str(prompt) for prompt in asked.prompts) if asked.is_echoing else ()
    return completion_body([completion], task.model, created, echoes=echoes, num_choices=asked.num_choices)


def failure_line(task: Task, error: TridentError) -> bytes:
    """A line of the file of failures; `line` is the input line's number."""
    failure: Json = {"id": task.id, "line": task.number, "custom_id": task.custom_id}
    if task.url is None:
        return _line({**failure, "error": error_body(error)})
    response = {"status_code": codes_of(error).http, "request_id": None, "body": {"error": error_body(error)}}
    return _line({**failure, "response": response, "error": None})


def _line(fields: Json) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def _object(text: str) -> Json:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(f"not JSON: {exc.msg}, column {exc.colno}") from exc
    except (ValueError, RecursionError) as exc:  # a number of thousands of digits, a thousand brackets
        raise InvalidRequestError(f"not JSON that can be read: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidRequestError("not a JSON object")
    if "\\ud" in text.lower():
        try:
            json.dumps(fields, ensure_ascii=False).encode()
        except UnicodeEncodeError as exc:
            raise InvalidRequestError("half a surrogate pair (\\ud800 to \\udfff) is no character") from exc
    return fields


def _custom_id(fields: Json) -> str | None:
    custom_id = fields.get("custom_id")
    if custom_id is not None and not isinstance(custom_id, str):
        raise InvalidRequestError(f"custom_id must be a text, got {custom_id!r}")
    return custom_id


def _plain_request(fields: Json, base: Sampling) -> BatchRequest:
    prompt = fields["prompt"]
    if not isinstance(prompt, str):
        raise InvalidRequestError("prompt must be one text")
    parameters = {name: value for name, value in fields.items() if name not in {"prompt", "custom_id"}}
    return BatchRequest(prompt, sampling_of(base, parameters))


def _read_openai(task: Task, fields: Json, base: Sampling) -> Task:
    for name in fields:
        if name not in _KEYS:
            raise InvalidRequestError(f"unknown key '{name}'{did_you_mean(name, (*_KEYS, 'prompt'))}")
    if fields.get("custom_id") is None:
        raise InvalidRequestError("neither a prompt nor a custom_id; see the forms in `trident batch --help`")
    url, body = fields.get("url"), fields.get("body")
    if fields.get("method", "POST") != "POST":
        raise InvalidRequestError(f"method must be 'POST', got {fields['method']!r}")
    if not isinstance(url, str) or url not in _READERS:
        raise InvalidRequestError(f"url must be {' or '.join(_READERS)}, got {url!r}")
    if not isinstance(body, dict):
        raise InvalidRequestError("body must be an object")
    asked = _READERS[url](body, base)
    _check_batched(body, asked)
    request = BatchRequest(asked.prompts[0], asked.sampling)
    return replace(task, url=url, model=str(body.get("model", "")), request=request, openai=asked)


def _check_batched(body: Json, asked: OpenAIRequest) -> None:
    """Raises InvalidRequestError: it wants what one line of answers cannot tell, or what Triton has not."""
    if asked.is_streaming:
        raise UnsupportedParameterError("stream True is not supported; leave it out", param="stream")
    if body.get("retrieval") is not None:
        raise UnsupportedParameterError("documents are the gateway's; leave retrieval out", param="retrieval")
    if asked.sampling.top_logprobs:  # the server says them by their ids, and an answer wants their texts
        raise UnsupportedParameterError("the likeliest tokens are not told in a batch; leave top_logprobs out")
    if len(asked.prompts) != 1:
        raise InvalidRequestError("prompt must be one text in a batch", param="prompt")
