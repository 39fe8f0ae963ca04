"""Tools that a chat must call (`tool_choice` "required", or a function by name): a guide, and its answer as calls.

The model is held to JSON by a guide, so that any model can be made to call, whatever its chat template knows. Since the
form is the guide's and not the template's, the functions are described in a system message, by `TEMPLATE`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trident_client.request import Messages

TEMPLATE = "required-tools@1"  # the name of the words below; they change with it
_WORDS = """\
You can call these functions. Each line is a function as JSON: its name, what it does and the JSON schema of its \
parameters.
{functions}
{form}"""
_LIST_FORM = 'Answer with a JSON list of calls and nothing else: [{"name": <function>, "parameters": <its arguments>}]'
_ONE_FORM = "Call {name}: answer with the JSON object of its arguments and nothing else."
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"parameters"\s*:\s*(?=\{)')


@dataclass(frozen=True, slots=True)
class ForcedCalls:
    """How a guided answer is read: as the arguments of the function `name`, or, without one, as a list of calls."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class CallPiece:
    """What has come of a call; `name` with the first piece of each."""

    index: int
    arguments: str
    name: str | None = None


def required_guide(tools: Sequence[Mapping[str, Any]], is_parallel: bool) -> dict[str, Any]:
    """The schema of a list of calls of these tools, one at least; more where `is_parallel`.

    `#/$defs/NAME` is all that guides follow, so the definitions of the functions' schemas move to the root.
    """
    branches: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for number, tool in enumerate(tools):
        function = tool["function"]
        definitions |= _moved(function.get("parameters") or _NO_PARAMETERS, f"t{number}")
        properties = {"name": {"const": function["name"]}, "parameters": {"$ref": f"#/$defs/t{number}"}}
        branches.append(
            {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
        )
    limits = {"minItems": 1} if is_parallel else {"minItems": 1, "maxItems": 1}
    return {"type": "array", "items": {"anyOf": branches}, **limits, "$defs": definitions}


def named_guide(function: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the arguments of one function."""
    return dict(function.get("parameters") or _NO_PARAMETERS)


def described(messages: Messages, tools: Sequence[Mapping[str, Any]], forced: ForcedCalls) -> Messages:
    """The chat with the tools told in its system message, which it gets where it has none."""
    functions = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
    form = _ONE_FORM.format(name=forced.name) if forced.name else _LIST_FORM
    words = _WORDS.format(functions=functions, form=form)
    first, *rest = messages
    if first.get("role") not in ("system", "developer"):  # whatever a body holds there
        return [{"role": "system", "content": words}, *messages]
    content = first.get("content")
    if isinstance(content, list):
        return [{**first, "content": [*content, {"type": "text", "text": f"\n\n{words}"}]}, *rest]
    return [{**first, "content": f"{content or ''}\n\n{words}"}, *rest]


def call_id(request_id: str, sequence_index: int, index: int) -> str:
    """Of a call of a guided answer; the same for the same place in the same request."""
    digest = hashlib.sha256(f"{request_id}:{sequence_index}:{index}".encode()).hexdigest()
    return f"call_{digest[:24]}"


class GuidedCalls:
    """Reads one guided answer as it comes. What it gives is the same however the text was cut."""

    def __init__(self, forced: ForcedCalls) -> None:
        self._name = forced.name
        self._index = -1
        self._head = ""  # of a list's text, what has come since the last call
        self._is_in_call = False
        self._depth = 0  # of brackets in its arguments
        self._is_in_string = False
        self._is_escaped = False

    def feed(self, text: str) -> list[CallPiece]:
        """The pieces of calls that the next text holds."""
        if self._name:
            is_first, self._index = self._index < 0, 0
            return [CallPiece(0, text, self._name if is_first else None)] if text or is_first else []
        pieces: list[CallPiece] = []
        while text:
            text = self._in_call(text, pieces) if self._is_in_call else self._before_call(text, pieces)
        return pieces

    def _before_call(self, text: str, pieces: list[CallPiece]) -> str:
        self._head += text
        found = _HEAD.search(self._head)
        if found is None:
            return ""
        self._index += 1
        self._is_in_call = True
        pieces.append(CallPiece(self._index, "", json.loads(found[1])))
        rest, self._head = self._head[found.end() :], ""
        return rest

    def _in_call(self, text: str, pieces: list[CallPiece]) -> str:
        end = self._end_of_arguments(text)
        pieces.append(CallPiece(self._index, text[:end]))
        return text[end:]

    def _end_of_arguments(self, text: str) -> int:
        for place, char in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_in_string:
                self._is_escaped = char == "\\"
                self._is_in_string = char != '"'
            elif char == '"':
                self._is_in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self._is_in_call = False
                    return place + 1
        return len(text)


def _moved(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The schema as the definition `name`, and its own definitions under names that begin with it."""
    moved = {name: {key: value for key, value in schema.items() if key not in {"$defs", "definitions"}}}
    for key in ("$defs", "definitions"):
        moved |= {f"{name}_{each}": value for each, value in schema.get(key, {}).items()}
    rewritten: dict[str, Any] = _rewritten(moved, name)
    return rewritten


def _rewritten(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_rewritten(each, name) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _reference(each, name) if key == "$ref" and isinstance(each, str) else _rewritten(each, name)
        for key, each in value.items()
    }


def _reference(reference: str, name: str) -> str:
    if reference == "#":
        return f"#/$defs/{name}"
    return re.sub(r"^#/(\$defs|definitions)/", f"#/$defs/{name}_", reference)
