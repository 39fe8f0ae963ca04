"""One tensor as KServe v2 carries it, and its two forms: raw bytes and JSON. Pure functions.

Little-endian, row-major, strings with a four-byte length before them
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md). It does not know
what a tensor means.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trident.errors import InvalidRequestError

STRUCT_CODES = {
    "BOOL": "?", "INT8": "b", "UINT8": "B", "INT16": "h", "UINT16": "H", "INT32": "i", "UINT32": "I", "INT64": "q",
    "UINT64": "Q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_LENGTH_BYTES = 4  # before each string


@dataclass(frozen=True, slots=True)
class Tensor:
    """`values` are row-major: bool, int, float; where the datatype is BYTES str, or bytes, which need not be text."""

    name: str
    datatype: str  # as KServe v2 names it
    shape: tuple[int, ...]
    values: Sequence[Any]


def unpack(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> Tensor:
    """From raw bytes.

    Raises:
        InvalidRequestError: a datatype that there is not, text that is no UTF-8, or another number of bytes than the
            shape says.
    """
    count = _count(name, shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _strings(name, raw, count))
    if datatype not in STRUCT_CODES:
        raise InvalidRequestError(f"{name} has the datatype '{datatype}', which there is not", param=name)
    if len(raw) != count * struct.calcsize(STRUCT_CODES[datatype]):
        raise InvalidRequestError(
            f"{name} has {len(raw)} bytes, which shape {list(shape)} of {datatype} is not", param=name
        )
    return Tensor(name, datatype, shape, struct.unpack(f"<{count}{STRUCT_CODES[datatype]}", raw))


def of_values(name: str, datatype: str, shape: tuple[int, ...], values: Sequence[Any]) -> Tensor:
    """From a flat list of values.

    Raises:
        InvalidRequestError: another number of values than the shape says.
    """
    if len(values) != _count(name, shape):
        raise InvalidRequestError(f"{name} has {len(values)} values, which shape {list(shape)} is not", param=name)
    return Tensor(name, datatype, shape, values)


def pack(tensor: Tensor) -> bytes:
    """As raw bytes."""
    if tensor.datatype == "BYTES":
        encoded = [value.encode() if isinstance(value, str) else value for value in tensor.values]
        return b"".join(len(value).to_bytes(_LENGTH_BYTES, "little") + value for value in encoded)
    return struct.pack(f"<{len(tensor.values)}{STRUCT_CODES[tensor.datatype]}", *tensor.values)


def _count(name: str, shape: tuple[int, ...]) -> int:
    if any(dim < 0 for dim in shape):
        raise InvalidRequestError(f"{name} has the shape {list(shape)}; a dimension is not negative", param=name)
    return math.prod(shape)


def _strings(name: str, raw: bytes, count: int) -> tuple[str, ...]:
    found, start = [], 0
    while start < len(raw):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(raw[start:begin], "little")
        try:
            found.append(raw[begin:start].decode())
        except UnicodeDecodeError as exc:
            raise InvalidRequestError(f"{name} is not UTF-8 at byte {exc.start}; send valid text", param=name) from exc
    if start != len(raw) or len(found) != count:
        raise InvalidRequestError(
            f"{name} does not hold {count} strings, each with its length in four bytes before it", param=name
        )
    return tuple(found)
