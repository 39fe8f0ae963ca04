"""The items of the Responses API, checked, and as the messages of a chat: pure functions.

https://platform.openai.com/docs/api-reference/responses. A conversation is a list of items: messages, function calls,
their outputs, and reasoning, which models do not get back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.openai_api.stored_bodies import unknown_parameter

Json = dict[str, Any]
_ROLES = ("user", "assistant", "system", "developer")
_PART_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
_MEDIA = ("input_image", "input_file", "input_audio")
_OURS = re.compile(r"[a-z]{2,4}_([0-9a-f]{32})_\w+")
_KEYS = {
    "message": {"type", "id", "role", "content", "status", "phase"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status"},
    "function_call_output": {"type", "id", "call_id", "output", "status"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "item_reference": {"type", "id"},
}
# How the ids of items begin.
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def new_item_id(kind: str, response_id: str, place: str) -> str:
    """Unique, and says which response it is of, so that a reference to it is found again."""
    return f"{_PREFIXES[kind]}_{response_id.removeprefix('resp_')}_{place}"


def response_of(item_id: str) -> str | None:
    """The id of the response that has the item; None: the id is not one of ours."""
    found = _OURS.fullmatch(item_id)
    return f"resp_{found[1]}" if found else None


def referred_ids(given: Any) -> list[str]:
    """What the references in the field `input` name, whatever else is wrong with it."""
    items = given if isinstance(given, list) else ()
    references = [item for item in items if isinstance(item, dict) and _kind(item) == "item_reference"]
    return [item["id"] for item in references if isinstance(item.get("id"), str)]


def read_items(given: Any, response_id: str, resolve: Callable[[str], Json | None]) -> list[Json]:
    """The field `input` as items with ids; `resolve`: the item that a reference names.

    Raises:
        InvalidRequestError: not a text or a list of items; the place is named.
        UnsupportedParameterError: an item, or a part of one, that text models do not read.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        code = "missing_required_parameter" if given is None else "invalid_type"
        raise InvalidRequestError("input must be a text, or a list of items, one at least", param="input", code=code)
    items = [_item(item, f"input[{number}]", resolve) for number, item in enumerate(given)]
    for number, item in enumerate(items):
        if not isinstance(item.get("id"), str):
            item["id"] = new_item_id(item["type"], response_id, f"in{number}")
    return items


def messages_of(instructions: str | None, items: Sequence[Mapping[str, Any]]) -> list[Json]:
    """The messages of a chat that says the same.

    Raises:
        InvalidRequestError: an output of a function that nobody called.
    """
    messages: list[Json] = [] if instructions is None else [{"role": "system", "content": instructions}]
    called: set[str] = set()
    for item in items:
        if item["type"] == "message":
            messages.append({"role": item["role"], "content": _text_of(item["content"])})
        elif item["type"] == "function_call":
            call = {
                "id": item["call_id"],
                "type": "function",
                "function": {"name": item["name"], "arguments": item["arguments"]},
            }
            called.add(item["call_id"])
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(call)
        elif item["type"] == "function_call_output":
            if item["call_id"] not in called:
                raise InvalidRequestError(
                    f"input has the output of a function call '{item['call_id'][:64]}' that is not there",
                    param="input",
                )
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": _text_of(item["output"])})
    return messages


def _item(given: Any, where: str, resolve: Callable[[str], Json | None]) -> Json:
    if not isinstance(given, dict):
        raise _wrong(where, "must be an object", "invalid_type")
    kind = _kind(given)
    if not isinstance(kind, str) or kind not in _KEYS:
        raise UnsupportedParameterError(
            f"{where}: items of type '{str(kind)[:64]}' are not supported", param=f"{where}.type"
        )
    for name in given:
        if name not in _KEYS[kind] and given[name] is not None:
            raise unknown_parameter(f"{where}.{name[:64]}")
    if kind == "item_reference":
        found = resolve(_text(given, "id", where))
        if found is None:
            raise _wrong(f"{where}.id", f"names '{given['id'][:64]}', and there is no such item")
        return found
    return {**_READERS[kind](given, where), **({"id": given["id"]} if isinstance(given.get("id"), str) else {})}


def _kind(given: Json) -> Any:
    return given.get("type", "message" if "role" in given else "item_reference" if set(given) == {"id"} else None)


def _message(given: Json, where: str) -> Json:
    role = given.get("role")
    if role not in _ROLES:
        raise _wrong(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    kind = "output_text" if role == "assistant" else "input_text"
    content = _parts(given.get("content"), f"{where}.content", kind)
    return {"type": "message", "role": role, "status": "completed", "content": content}


def _function_call(given: Json, where: str) -> Json:
    fields = {name: _text(given, name, where) for name in ("call_id", "name", "arguments")}
    return {"type": "function_call", "status": "completed", **fields}


def _function_call_output(given: Json, where: str) -> Json:
    output = given.get("output")
    if not isinstance(output, str):
        output = _parts(output, f"{where}.output", "input_text")
    call_id = _text(given, "call_id", where)
    return {"type": "function_call_output", "status": "completed", "call_id": call_id, "output": output}


def _reasoning(given: Json, where: str) -> Json:
    summary, content = given.get("summary") or [], given.get("content") or []
    for name, parts in (("summary", summary), ("content", content)):
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise _wrong(f"{where}.{name}", "must be a list of objects", "invalid_type")
    return {"type": "reasoning", "status": "completed", "summary": summary, "content": content}


_READERS: dict[str, Callable[[Json, str], Json]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_call_output,
    "reasoning": _reasoning,
}


def _parts(content: Any, where: str, text_kind: str) -> list[Json]:
    if isinstance(content, str):
        return [_text_part(text_kind, content)]
    if not isinstance(content, list):
        raise _wrong(where, "must be a text or a list of parts", "invalid_type")
    return [_part(part, f"{where}[{number}]", text_kind) for number, part in enumerate(content)]


def _part(part: Any, where: str, text_kind: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _MEDIA:
        raise UnsupportedParameterError(f"{where}: this model reads text, not {kind}", param=f"{where}.type")
    if kind not in _PART_TEXTS:
        raise _wrong(f"{where}.type", f"must be one of {', '.join(_PART_TEXTS)}")
    text = _text(part, _PART_TEXTS[kind], where)
    return {"type": "refusal", "refusal": text} if kind == "refusal" else _text_part(text_kind, text)


def _text_part(kind: str, text: str) -> Json:
    part: Json = {"type": kind, "text": text}
    return {**part, "annotations": []} if kind == "output_text" else part


def _text_of(content: str | Sequence[Mapping[str, Any]]) -> str | list[Json]:
    if isinstance(content, str):
        return content
    texts = [str(part[_PART_TEXTS[part["type"]]]) for part in content]
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def _text(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        code = "missing_required_parameter" if value is None else "invalid_type"
        raise _wrong(f"{where}.{name}", "must be a text", code)
    return value


def _wrong(where: str, what: str, code: str = "invalid_value") -> InvalidRequestError:
    return InvalidRequestError(f"{where} {what}", param=where, code=code)
