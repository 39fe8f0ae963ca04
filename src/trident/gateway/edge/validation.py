"""From what pydantic finds wrong to an error in OpenAI's words: one parameter, by its path, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trident.errors import InvalidRequestError


def refusal_of(faults: Sequence[Any], *, has_place: bool = False) -> InvalidRequestError:
    """The first of pydantic's `errors()`, by the name of the parameter, as `messages[0].role`.

    `has_place`: paths begin with "body", "query", "path" or "header", as FastAPI's do.
    """
    first = faults[0]
    kind = str(first["type"])
    if kind == "json_invalid":
        return InvalidRequestError(
            f"the body is not JSON: {first.get('ctx', {}).get('error', '')}", code="invalid_json"
        )
    param = path_of(first["loc"][has_place:]) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    where = f"'{param}'" if param else "the body"
    if kind == "missing":
        return InvalidRequestError(f"{where} is required", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        return InvalidRequestError(f"unknown parameter {where}", param=param, code="unknown_parameter")
    code = "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
    return InvalidRequestError(f"{where}: {message}", param=param, code=code)


def path_of(loc: Sequence[int | str]) -> str:
    """As `messages[0].role`."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
