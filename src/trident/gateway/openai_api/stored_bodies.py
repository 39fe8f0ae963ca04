"""What the bodies of stored objects have in common: known fields only come in, a JSON object goes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from fastapi import Response

from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean

Json = dict[str, Any]
_MAX_PAIRS, _MAX_KEY_CHARS, _MAX_VALUE_CHARS = 16, 64, 512  # of metadata, as OpenAI bounds them


def answer(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """200 with `body`."""
    return Response(orjson.dumps(body), headers=dict(headers or {}), media_type="application/json")


def check_fields(body: Mapping[str, Any], known: Iterable[str], unsupported: Iterable[str] = ()) -> None:
    """Refuse by name what is not `known`; a field that is null is one that is absent.

    Raises:
        UnsupportedParameterError: OpenAI's API has it, this gateway does not.
        InvalidRequestError: nobody has it; says the nearest known one.
    """
    known = tuple(known)
    for name, value in body.items():
        if name in known or (value is None and name in unsupported):
            continue
        if name in unsupported:
            raise UnsupportedParameterError(f"{name} is not supported; leave it out", param=name)
        raise unknown_parameter(name[:64], did_you_mean(name, known))


def unknown_parameter(path: str, hint: str = "") -> InvalidRequestError:
    """The refusal of what nobody has, by its place in the body."""
    return InvalidRequestError(f"unknown parameter '{path}'{hint}", param=path, code="unknown_parameter")


def text_of(body: Mapping[str, Any], name: str, *, is_required: bool = False) -> str | None:
    """A field that is a text.

    Raises:
        InvalidRequestError: it is something else, or is not there.
    """
    value = body.get(name)
    if value is None and is_required:
        raise InvalidRequestError(f"'{name}' is required", param=name, code="missing_required_parameter")
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a text", param=name, code="invalid_type")
    return value


def metadata_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The field `metadata`: at most 16 texts by name.

    Raises:
        InvalidRequestError: more, longer, or something else.
    """
    value = body.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InvalidRequestError("metadata must be an object of texts", param="metadata", code="invalid_type")
    if len(value) > _MAX_PAIRS:
        raise InvalidRequestError(f"metadata has {len(value)} pairs; at most {_MAX_PAIRS} are kept", param="metadata")
    for key, text in value.items():
        if len(key) > _MAX_KEY_CHARS or len(text) > _MAX_VALUE_CHARS:
            raise InvalidRequestError(
                f"metadata.{key[:_MAX_KEY_CHARS]}: a key has at most {_MAX_KEY_CHARS} characters, "
                f"a value {_MAX_VALUE_CHARS}",
                param="metadata",
            )
    return value
