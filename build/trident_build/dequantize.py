"""From the bytes of a quantized linear layer back to the matrix that an engine multiplies with.

Each layout of bytes is told by dtypes and shapes alone, so that a checkpoint that lies about itself is found out.
Sources: TensorRT-LLM's preprocess_weights, ModelOpt's export (packing), the OCP MX specification (E2M1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trident.errors import EngineError

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
E2M1_VALUES = np.concatenate([_E2M1, -_E2M1])  # of the 16 nibbles; the highest bit is the sign


def dequantize(name: str, weight: Array, dtype: str, scale: Array, scale_dtype: str, scale_2: Array | None) -> Floats:
    """The matrix float32[outputs, inputs] of one linear layer, before smoothing is undone.

    Args:
        name: for the error.
        weight: as `Tensors.array` gives it: FP8 as float32, integers as stored.
        dtype: of the stored weight: "F8_E4M3", "I8", "U8".
        scale: of the whole, of each output, or of each group of inputs.
        scale_dtype: of the stored scale.
        scale_2: of NVFP4's scales. W4A8's second one cancels out: its kernel divides by it and multiplies again.

    Raises:
        EngineError: no layout that is known.
    """
    if dtype == "F8_E4M3" and scale.size == 1:
        return np.asarray(weight * scale.reshape(()), np.float32)
    if dtype == "I8" and scale.ndim == 1 and scale.shape[0] == weight.shape[0]:
        return np.asarray(weight * scale[:, None], np.float32)
    if dtype == "U8" and scale_dtype == "F8_E4M3" and scale_2 is not None:
        return _grouped(name, E2M1_VALUES[_unpack(weight, axis=1)], scale * scale_2.reshape(()))
    if dtype in {"I8", "U8"} and scale.ndim == 2:
        nibbles = _unpack(weight.view(np.uint8), axis=0).astype(np.int8)
        return _grouped(name, (nibbles ^ 8) - 8, scale)  # two's complement of four bits
    raise EngineError(f"{name}: {dtype} {list(weight.shape)} with scales {scale_dtype} {list(scale.shape)} is unknown")


def weight_only(weight: Floats, bits: int) -> Floats:
    """What TensorRT-LLM makes of a matrix when it loads a checkpoint of W8A16 or W4A16, whose weights are unquantized.

    Symmetric, one scale for each output: largest value / 2^(bits - 1), as symmetric_quantize of its kernels has it.
    """
    top = 2 ** (bits - 1)
    scale = np.abs(weight).max(axis=1, keepdims=True) / top
    scale[scale == 0] = 1
    return np.asarray(np.clip(np.rint(weight / scale), -top, top - 1) * scale, np.float32)


def _unpack(packed: Array, axis: int) -> npt.NDArray[np.uint8]:
    """Two nibbles of each byte, the lower one first, along `axis`."""
    nibbles = np.stack([packed & 15, packed >> 4], axis=axis + 1)
    shape = list(packed.shape)
    shape[axis] *= 2
    return np.asarray(nibbles.reshape(shape), np.uint8)


def _grouped(name: str, values: Array, scale: Array) -> Floats:
    outputs, inputs = values.shape
    if scale.shape[0] != outputs or inputs % scale.shape[1]:
        raise EngineError(f"{name}: {list(scale.shape)} scales do not fit {outputs} outputs and {inputs} inputs")
    groups = values.reshape(outputs, scale.shape[1], -1).astype(np.float32)
    return np.asarray((groups * scale[:, :, None]).reshape(outputs, inputs), np.float32)
