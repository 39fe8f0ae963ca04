"""A request's body: JSON, of the right shape, and its shape in the OpenAPI document.

A refusal names the place in the body as OpenAI does (`messages[0].role`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError

from trident.errors import InvalidRequestError, did_you_mean
from trident.gateway.edge.validation import path_of
from trident.gateway.openai_api.bodies import schema_of

Json = dict[str, Any]


async def read_object(request: Request) -> Json:
    """The body as a JSON object.

    Raises:
        InvalidRequestError: it is none.
        HTTPException: (415) it says that it is something else.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, f"the body's content-type is '{kind[:100]}'; send application/json")
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"the body is not JSON: {exc}", code="invalid_json") from exc
    if not isinstance(body, dict):
        raise InvalidRequestError("the body must be a JSON object", code="invalid_type")
    return body


def check_shape(model: type[BaseModel], body: Json) -> None:
    """Refuse a body that is not of the model's shape.

    Raises:
        InvalidRequestError: its `param` is the deepest place that is wrong.
    """
    try:
        model.model_validate(body)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_context=False, include_input=False)
        paths = [_path_in(body, fault["loc"]) for fault in faults]
        deepest = max(range(len(faults)), key=lambda number: len(paths[number]))
        raise _refusal(model, faults[deepest], paths[deepest]) from exc


def body_in_document(model: type[BaseModel]) -> Json:
    """`openapi_extra` of an operation that takes it, without references, which FastAPI would not collect."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema_of(model)}}}}


def _path_in(body: Any, loc: Sequence[int | str]) -> list[int | str]:
    """Of pydantic's place, what is in the body: the names of a union's branches are not."""
    path: list[int | str] = []
    value = body
    for number, part in enumerate(loc):
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            value = value[part]
        elif isinstance(part, str) and isinstance(value, dict) and (part in value or number == len(loc) - 1):
            value = value.get(part)
        else:
            continue
        path.append(part)
    return path


def _refusal(model: type[BaseModel], fault: Any, path: list[int | str]) -> InvalidRequestError:
    param = path_of(path)
    kind, message = str(fault["type"]), str(fault["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return InvalidRequestError(f"'{param}' is required", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        known = model.model_fields if len(path) == 1 else ()
        text = f"unknown field '{param}'{did_you_mean(str(path[-1]), known)}"
        return InvalidRequestError(text, param=param, code="unknown_parameter")
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return InvalidRequestError(f"'{param}': {message[0].lower()}{message[1:]}", param=param or None, code=code)
