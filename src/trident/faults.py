"""What pydantic finds wrong with a file or a table, as one line for who wrote it.

For configuration: manifests, recipes, policies, the gateway's file. What is wrong with a request over HTTP is told in
OpenAI's words by the gateway's edge.
"""

from __future__ import annotations

import re
import reprlib
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trident.errors import did_you_mean

_QUOTE = "'"


def explain_invalid(exc: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that is wrong with the input of `model`: the key, why, the value, the nearest valid name."""
    errors = exc.errors()  # a misspelt key is missing too; how it is spelt helps more
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    loc = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return f"not JSON: {first['ctx']['error']}"
    where = ".".join(loc)
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'{did_you_mean(loc[-1], _fields_beside(model, loc))}"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "union_tag_not_found":
        return f"{where}.{first['ctx']['discriminator'].strip(_QUOTE)} is missing"
    if first["type"] == "union_tag_invalid":
        tag, known = str(first["ctx"]["tag"]), re.findall(r"'([^']+)'", first["ctx"]["expected_tags"])
        key = first["ctx"]["discriminator"].strip(_QUOTE)
        return f"{where}.{key} must be {' or '.join(known)}, got {tag!r}{did_you_mean(tag, known)}"
    given = "" if isinstance(first["input"], (dict, BaseModel)) else f", got {reprlib.repr(first['input'])}"
    hint = ""
    if first["type"] in {"enum", "literal_error"}:
        hint = did_you_mean(str(first["input"]), re.findall(r"'([^']+)'", first["ctx"]["expected"]))
    message = f"{first['msg'].removeprefix('Value error, ')}{given}{hint}"
    return f"{where}: {message}" if where else message


def _fields_beside(model: type[BaseModel], loc: list[str]) -> list[str]:
    kind: Any = model
    for part in loc[:-1]:
        kind = _type_at(kind, part)
    return list(kind.model_fields) if _is_model(kind) else []


def _type_at(kind: Any, part: str) -> Any:
    """Of what stands at `part` in a value of type `kind`; None where that is not known."""
    inner = get_args(kind)
    if _is_model(kind):
        found = kind.model_fields[part].annotation if part in kind.model_fields else None
    elif get_origin(kind) in (dict, list, tuple):
        found = inner[1] if get_origin(kind) is dict else inner[0]
    else:  # a union, told apart by `kind` or `type`
        found = next((one for one in inner if part in _tags(one)), None)
    branches = [one for one in get_args(found) if one is not type(None)]
    is_optional = len(branches) == 1 and len(get_args(found)) == 2  # one of several models is found by its tag
    return branches[0] if is_optional else found


def _tags(model: Any) -> tuple[Any, ...]:
    if not _is_model(model):
        return ()
    return tuple(
        tag for name in ("kind", "type") if name in model.model_fields
        for tag in get_args(model.model_fields[name].annotation)
    )  # fmt: skip


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
