"""The lines of a batch's file: what each has to be before any is asked. Pure functions over one file.

https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson

from trident.errors import InvalidRequestError, did_you_mean

Json = dict[str, Any]
MAX_LINES = 50_000
_MAX_FAULTS = 100  # that are told
_MAX_ID_CHARS = 512
_KEYS = ("custom_id", "method", "url", "body")


@dataclass(slots=True)
class Checked:
    """How many requests a file holds, or why it is no batch."""

    num_lines: int = 0
    faults: list[Json] = field(default_factory=list)  # as a batch's `errors.data`


def lines_of(file: BinaryIO, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line that is not blank; one that is too long is cut after the limit."""
    number = 0
    while line := file.readline(max_line_bytes + 1):
        number += 1
        rest = line
        while not rest.endswith(b"\n") and len(rest) == max_line_bytes + 1:
            rest = file.readline(max_line_bytes + 1)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line


def check_lines(file: BinaryIO, endpoint: str, max_line_bytes: int) -> Checked:
    """Read all of it once; takes a second for a large file."""
    checked = Checked()
    custom_ids: dict[str, int] = {}
    for number, line in lines_of(file, max_line_bytes):
        checked.num_lines += 1
        if checked.num_lines > MAX_LINES:
            message = f"more than {MAX_LINES} requests; send them as several batches"
            checked.faults.append(_fault(number, "too_many_tasks", message))
            break
        try:
            _check_line(number, line, endpoint, max_line_bytes, custom_ids)
        except InvalidRequestError as exc:
            checked.faults.append(_fault(number, exc.code or "invalid_request", exc.message, exc.param))
            if len(checked.faults) == _MAX_FAULTS:
                break
    if not checked.num_lines:
        checked.faults.append(_fault(None, "empty_file", "the file holds no request"))
    return checked


def read_request(line: bytes, endpoint: str) -> Json:
    """A line's object: custom_id, method, url and body.

    Raises:
        InvalidRequestError: it is something else, or for another endpoint than the batch.
    """
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"not JSON: {exc}", code="invalid_json_line") from exc
    if not isinstance(fields, dict):
        raise InvalidRequestError("not a JSON object", code="invalid_json_line")
    for name in fields:
        if name not in _KEYS:
            raise InvalidRequestError(f"unknown key '{name[:64]}'{did_you_mean(name, _KEYS)}", param=name[:64])
    custom_id, body = fields.get("custom_id"), fields.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _MAX_ID_CHARS:
        raise InvalidRequestError(f"custom_id must be a text of 1 to {_MAX_ID_CHARS} characters", param="custom_id")
    if fields.get("method") != "POST":
        raise InvalidRequestError("method must be 'POST'", param="method", code="invalid_method")
    if fields.get("url") != endpoint:
        raise InvalidRequestError(f"url must be the batch's endpoint, {endpoint}", param="url", code="mismatched_url")
    if not isinstance(body, dict):
        raise InvalidRequestError("body must be an object", param="body")
    if body.get("stream"):
        raise InvalidRequestError("an answer of a batch is not streamed; leave stream out", param="body.stream")
    return fields


def _check_line(number: int, line: bytes, endpoint: str, max_line_bytes: int, custom_ids: dict[str, int]) -> None:
    if len(line) > max_line_bytes:
        raise InvalidRequestError(f"longer than {max_line_bytes} bytes", code="request_too_large")
    custom_id = str(read_request(line, endpoint)["custom_id"])
    first = custom_ids.setdefault(custom_id, number)
    if first != number:
        text = f"custom_id '{custom_id}' is that of line {first} already"
        raise InvalidRequestError(text, param="custom_id", code="duplicate_custom_id")


def _fault(line: int | None, code: str, message: str, param: str | None = None) -> Json:
    return {"code": code, "line": line, "message": message, "param": param}
