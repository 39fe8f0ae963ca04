"""Tensors of safetensors files as numpy arrays, without PyTorch: also bfloat16 and FP8, which numpy lacks.

Read by memory map, one tensor at a time, so that a checkpoint larger than the memory can be looked at. Knows nothing
of what the tensors mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trident.errors import RecipeError
from trident_build.hf_checkpoint import INDEX, read_header, read_json

_DTYPES: dict[str, str] = {  # as numpy stores them; BF16 and F8_E4M3 are decoded below
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E4M3": "u1",
    "I64": "<i8",
    "I32": "<i4",
    "I8": "i1",
    "U8": "u1",
}


@dataclass(frozen=True)
class _Place:
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int  # of its bytes, in the file


class Tensors:
    """All tensors of some safetensors files by name; their headers are checked, they themselves stay on disk."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the headers.

        Raises:
            RecipeError: a file is missing, truncated or no safetensors file.
        """
        self._places: dict[str, _Place] = {}
        for path in paths:
            header = read_header(path)
            with path.open("rb") as file:
                offset = 8 + int.from_bytes(file.read(8), "little")
            for name, field in header.items():
                start = offset + field["data_offsets"][0]
                self._places[name] = _Place(path, field["dtype"], tuple(field["shape"]), start)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._places)

    def dtype(self, name: str) -> str:
        """The format's name: "BF16", "F8_E4M3", "I8"."""
        return self._place(name).dtype

    def array(self, name: str) -> npt.NDArray[Any]:
        """The tensor: float32 for every kind of float, integers as they are stored.

        Raises:
            RecipeError: no such tensor, or one of a dtype that no checkpoint of ours has.
        """
        place = self._place(name)
        if place.dtype not in _DTYPES:
            raise RecipeError(f"tensor {name} is of dtype {place.dtype}; known: {', '.join(_DTYPES)}")
        stored = np.memmap(place.path, _DTYPES[place.dtype], mode="r", offset=place.start, shape=place.shape or (1,))
        raw: npt.NDArray[Any] = stored.reshape(place.shape)
        if place.dtype == "BF16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        elif place.dtype == "F8_E4M3":
            raw = e4m3_values()[raw]
        return np.asarray(raw, np.float32 if place.dtype.startswith(("F", "B")) else raw.dtype)

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            raise RecipeError(f"the checkpoint has no tensor {name}")
        return self._places[name]


def checkpoint_tensors(folder: Path) -> Tensors:
    """The tensors of a Hugging Face checkpoint, in one file or in many.

    Raises:
        RecipeError: see `Tensors`.
    """
    if (folder / INDEX).is_file():
        names = set(read_json(folder / INDEX)["weight_map"].values())
        return Tensors(folder / name for name in sorted(names))
    return Tensors([folder / "model.safetensors"])


@cache
def e4m3_values() -> npt.NDArray[np.float32]:
    """The value of each of the 256 bytes of FP8 E4M3: no infinities, two NaNs, 448 the largest.

    https://arxiv.org/abs/2209.05433
    """
    codes = np.arange(256)
    exponents, mantissas = (codes >> 3) & 15, (codes & 7) / 8.0
    normal, subnormal = (1 + mantissas) * np.exp2(exponents - 7.0), mantissas * 2.0**-6
    values = np.where(exponents == 0, subnormal, normal) * np.where(codes & 128, -1.0, 1.0)
    values[[127, 255]] = np.nan
    return np.asarray(values, np.float32)
