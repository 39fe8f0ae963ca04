"""The body of `infer` over HTTP to tensors and back: KServe v2's JSON with Triton's binary data behind it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean
from trident.gateway.kserve_api.tensors import Tensor, of_values, pack, unpack
from trident.gateway.kserve_api.version import MODEL_VERSION

_NUMBER = re.compile(r"[0-9]{1,18}")
HEADER_LENGTH = "inference-header-content-length"
_MEMBERS = ("id", "inputs", "outputs", "parameters", "model_name", "model_version")
_INPUT_MEMBERS = ("name", "shape", "datatype", "data", "parameters")


@dataclass(frozen=True, slots=True)
class InferBody:
    """What was asked, and how each output is to be written."""

    id: str
    tensors: list[Tensor]
    outputs: list[str]  # empty: all
    binary: frozenset[str]  # outputs that are to be binary, beside those of `is_binary`
    textual: frozenset[str]  # and those that are not to be
    is_binary: bool  # where nothing is said of an output


def read_object(body: bytes, known: Collection[str], what: str) -> dict[str, Any]:
    """A JSON object that has members of `known` only (none: any).

    Raises:
        InvalidRequestError: it is none, or has another.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"the body is not JSON: {exc}", code="invalid_json") from exc
    return _object(value, known, what)


def read_infer_body(body: bytes, header_length: str | None) -> InferBody:
    """`header_length`: the HTTP header that says where the JSON ends and binary data begins.

    Raises:
        InvalidRequestError: it does not hold what it says.
        UnsupportedParameterError: a parameter that the gateway does not know, as tensors that lie in shared memory.
    """
    if header_length is not None and not (
        header_length.isascii() and header_length.isdigit() and len(header_length) < 19
    ):
        raise InvalidRequestError(f"{HEADER_LENGTH} must be a number, got '{header_length[:40]}'")
    end = len(body) if header_length is None else int(header_length)
    if end > len(body):
        raise InvalidRequestError(f"{HEADER_LENGTH} is {end}, and the body has {len(body)} bytes")
    given = read_object(body[:end], _MEMBERS, "the body")
    inputs, outputs = _list(given, "inputs"), _list(given, "outputs")
    parameters = _parameters(given, "the body", ("binary_data_output",))
    rest = body[end:]
    tensors = []
    for number, each in enumerate(inputs):
        tensor, rest = _tensor(_object(each, _INPUT_MEMBERS, f"inputs[{number}]"), f"inputs[{number}]", rest)
        tensors.append(tensor)
    if rest:
        raise InvalidRequestError(f"{len(rest)} bytes are left behind the binary data of the inputs")
    wanted = [_output(each, f"outputs[{number}]") for number, each in enumerate(outputs)]
    return InferBody(
        _string(given, "id", "", "the body"),
        tensors,
        [name for name, _ in wanted],
        frozenset(name for name, is_binary in wanted if is_binary),
        frozenset(name for name, is_binary in wanted if is_binary is False),
        bool(parameters.get("binary_data_output", False)),
    )


def infer_answer(model: str, asked: InferBody, tensors: Sequence[Tensor]) -> tuple[bytes, dict[str, str]]:
    """The body of the answer and the headers that say what it is."""
    outputs, raws = [], []
    for tensor in tensors:
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if tensor.name in asked.binary or (asked.is_binary and tensor.name not in asked.textual):
            raws.append(pack(tensor))
            entry["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            entry["data"] = [_plain(value) for value in tensor.values]
        outputs.append(entry)
    head = {"id": asked.id} if asked.id else {}
    content = orjson.dumps({"model_name": model, "model_version": MODEL_VERSION, **head, "outputs": outputs})
    if not raws:
        return content, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(content))}
    return b"".join((content, *raws)), headers


def _plain(value: Any) -> Any:
    """Bytes need not be text; JSON holds nothing else."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _tensor(given: Mapping[str, Any], where: str, rest: bytes) -> tuple[Tensor, bytes]:
    """The tensor, and what is left of the binary data."""
    name, datatype = _string(given, "name", None, where), _string(given, "datatype", None, where)
    dims = given.get("shape")
    if not isinstance(dims, list) or not all(isinstance(dim, int) and not isinstance(dim, bool) for dim in dims):
        raise InvalidRequestError(f"{where}.shape must be a list of integers", param=f"{where}.shape")
    shape = tuple(dims)
    size = _parameters(given, where, ("binary_data_size",)).get("binary_data_size")
    if size is None:
        if "data" not in given:
            raise InvalidRequestError(f"{where} has neither data nor binary_data_size", param=where)
        data = given["data"]
        return of_values(name, datatype, shape, list(_flat(data if isinstance(data, list) else [data]))), rest
    if "data" in given:
        raise InvalidRequestError(f"{where} has data and binary_data_size; send one of them", param=where)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise InvalidRequestError(
            f"{where} has binary_data_size {size}, and {len(rest)} bytes are left; the header {HEADER_LENGTH} says "
            "where they begin",
            param=where,
        )
    return unpack(name, datatype, shape, rest[:size]), rest[size:]


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _output(given: Any, where: str) -> tuple[str, bool | None]:
    entry = _object(given, ("name", "parameters"), where)
    is_binary = _parameters(entry, where, ("binary_data",)).get("binary_data")
    return _string(entry, "name", None, where), None if is_binary is None else bool(is_binary)


def _object(value: Any, known: Collection[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{where} must be a JSON object")
    for name in value:
        if known and name not in known:
            raise InvalidRequestError(f"{where} has the unknown member '{name}'{did_you_mean(name, known)}", param=name)
    return value


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    value = given.get(name, [])
    if not isinstance(value, list):
        raise InvalidRequestError(f"{name} must be a list", param=name)
    return value


def _string(given: Mapping[str, Any], name: str, default: str | None, where: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise InvalidRequestError(f"{where} has no '{name}' that is a string", param=name)
    return value


def _parameters(given: Mapping[str, Any], where: str, known: Collection[str]) -> dict[str, Any]:
    value = given.get("parameters", {})
    if not isinstance(value, dict):
        raise InvalidRequestError(f"parameters of {where} must be a JSON object", param="parameters")
    for name in value:
        if name not in known:
            raise UnsupportedParameterError(
                f"the gateway does not take the parameter '{name}' of {where}; leave it out", param=name
            )
    return value
