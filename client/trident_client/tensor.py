"""One input tensor of a request: checked when it is made, so that both wire formats may trust it.

Every request carries one prompt, so a tensor is one row of a batch. It knows nothing of protobuf or JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trident.contract import Dtype, Model
from trident.errors import InvalidRequestError

WireDtype = Dtype | Literal["UINT32"]  # NVIDIA's repositories before 0.10 have UINT32 where ours has INT32
_TYPES: dict[WireDtype, tuple[type, ...]] = {
    "BOOL": (bool,),
    "INT32": (int,),
    "UINT32": (int,),
    "INT64": (int,),
    "UINT64": (int,),
    "FP16": (int, float),
    "FP32": (int, float),
    "STRING": (str,),
}
_MAX_FP32 = 3.4028234663852886e38
_RANGES: dict[WireDtype, tuple[float, float]] = {
    "INT32": (-(2**31), 2**31 - 1),
    "UINT32": (0, 2**32 - 1),
    "INT64": (-(2**63), 2**63 - 1),
    "UINT64": (0, 2**64 - 1),
    "FP16": (-65504.0, 65504.0),
    "FP32": (-_MAX_FP32, _MAX_FP32),  # NaN and infinities compare false, JSON has no word for them
}


@dataclass(frozen=True, slots=True)
class Input:
    """A named row of values.

    Raises:
        InvalidRequestError: a value of the wrong type, out of the dtype's range, or text that UTF-8 cannot hold.
    """

    name: str
    dtype: WireDtype
    values: tuple[Any, ...]  # row-major
    dims: tuple[int, ...] = ()  # without the batch's; empty: one dimension
    is_batched: bool = True  # whether the model has a batch dimension

    def __post_init__(self) -> None:
        for value in self.values:
            _check(self.name, self.dtype, value)

    @property
    def shape(self) -> tuple[int, ...]:
        """As the model wants it, the batch dimension included where there is one."""
        dims = self.dims or (len(self.values),)
        return (1, *dims) if self.is_batched else dims


def dtypes_of(model: Model) -> dict[str, Dtype]:
    """Input name -> dtype of a model of the contract."""
    return {tensor.name: tensor.dtype for tensor in model.inputs}


def flattened(name: str, value: Any) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The values of a scalar, a list, a matrix or a numpy array, and the dims that are to be said; () of a row.

    Raises:
        InvalidRequestError: a matrix whose rows differ in length.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's scalars and arrays
    if isinstance(value, str) or not isinstance(value, Sequence):
        return (value,), ()
    if not value or isinstance(value[0], str) or not isinstance(value[0], Sequence):
        return tuple(value), ()
    columns = len(value[0])
    if any(len(row) != columns for row in value):
        raise InvalidRequestError(f"the rows of {name} differ in length")
    return tuple(item for row in value for item in row), (len(value), columns)


def _check(name: str, dtype: WireDtype, value: Any) -> None:
    # bool is an int to Python and a BOOL to Triton
    is_typed = isinstance(value, _TYPES[dtype]) and (not isinstance(value, bool) or dtype == "BOOL")
    if not is_typed:
        raise InvalidRequestError(f"{name} must be {dtype}, got {value!r}")
    if dtype == "STRING":
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise InvalidRequestError(
                f"{name} holds a lone surrogate at position {exc.start}; send valid text"
            ) from exc
    elif dtype in _RANGES:
        low, high = _RANGES[dtype]
        if not low <= value <= high:
            raise InvalidRequestError(f"{name} must be {dtype}, got {value!r}, which is out of its range")
