"""The proof that an exported checkpoint is the model it was made of: every tensor compared with the source.

The error of a tensor is |W' - W| / |W| by Frobenius norm, W' read back as the engine will compute with it. A smoothed
layer (SmoothQuant, AWQ) is bounded where it was rounded, at W / s, because the engine's inputs are multiplied by s:
what rounding costs inputs that are small there, plain weights overstate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trident.manifest import Parallelism
from trident_build.checkpoint_config import config_problems
from trident_build.checkpoint_formats import FORMATS, KV_ALGORITHMS, UNQUANTIZED_BOUND, Layout, Shape, group_size
from trident_build.checkpoint_read import Checkpoint, TrtllmCheckpoint, UnifiedCheckpoint
from trident_build.checkpoint_report import CheckpointReport, TensorError
from trident_build.dequantize import Floats
from trident_build.hf_checkpoint import read_json
from trident_build.progress import Stage
from trident_build.recipe import Quantization

HF_QUANTIZATION = "hf_quant_config.json"
_NORMS = {"self_attn": "input_layernorm", "mlp": "post_attention_layernorm"}  # whose output a linear layer takes
_OWN_INPUT = ("o_proj", "down_proj")  # no norm before them


def verify_checkpoint(
    source: Path,
    checkpoint: Path,
    *,
    precision: str,
    quantization: Quantization,
    parallelism: Parallelism,
    layout: Layout,
    stage: Stage | None = None,
) -> CheckpointReport:
    """Compare every tensor and every fact of `checkpoint` with the Hugging Face checkpoint `source`.

    Raises:
        EngineError: a file of the checkpoint is missing, truncated or of no known layout. What is merely wrong is in
            the report: `report.require()` raises it.
    """
    config = read_json(source / "config.json")
    original, read = UnifiedCheckpoint(source), _reader(checkpoint, layout)
    if isinstance(read, TrtllmCheckpoint):
        group = group_size(Shape.of(config), precision, quantization, parallelism)
        problems = config_problems(
            read.config,
            config,
            precision=precision,
            kv_cache=quantization.kv_cache,
            group_size=group,
            parallelism=parallelism,
        )
    else:
        problems = _unified_problems(checkpoint, precision, quantization)
    names = original.names()
    errors = []
    for number, name in enumerate(names, 1):
        errors.append(_compare(name, original, read, precision, layout))
        if stage is not None:
            stage.steps(number, len(names))
    problems += _scale_problems(names, read, precision, quantization, layout)
    problems += _kv_problems(Shape.of(config).num_layers, read, quantization)
    return CheckpointReport(precision, layout, parallelism, tuple(errors), tuple(problems))


def _compare(name: str, original: Checkpoint, read: Checkpoint, precision: str, layout: Layout) -> TensorError:
    before, after = original.weight(name), read.weight(name)
    is_quantized = _is_linear(name) and (bool(read.scales(name)) or _is_quantized_on_load(precision, layout))
    bound = FORMATS[precision].bound if is_quantized else UNQUANTIZED_BOUND
    if before.shape != after.shape:
        return TensorError(name, float("inf"), bound, f"shape {list(after.shape)}, must be {list(before.shape)}")
    norms = _norms_before(name, original, read)
    if norms is not None:  # what AWQ took out of the layer's weight is in the norm before it
        before, after = before * norms[0], after * norms[1]
    if name.endswith("layernorm.weight") and layout == "hf" and precision.endswith("_awq"):
        return TensorError(name, _distance(before, after), float("inf"), "takes the smoothing of the layers after it")
    smoothing = read.smoothing(name) if _is_linear(name) and before.ndim == 2 else None
    if smoothing is None:
        return TensorError(name, _distance(before, after), bound)
    rounding = _distance(before / smoothing, after / smoothing)
    return TensorError(name, _distance(before, after), bound, rounding_error=rounding)


def _distance(before: Floats, after: Floats) -> float:
    scale = float(np.linalg.norm(before))
    difference = float(np.linalg.norm(after - before))
    distance = difference / scale if scale else difference
    return distance if np.isfinite(distance) else float("inf")


def _norms_before(name: str, original: Checkpoint, read: Checkpoint) -> tuple[Floats, Floats] | None:
    parts = name.split(".")
    if not _is_linear(name) or parts[-1] != "weight" or parts[-2] in _OWN_INPUT:
        return None
    norm = ".".join([*parts[:3], _NORMS[parts[3]], "weight"])
    before, after = original.weight(norm), read.weight(norm)
    return None if np.array_equal(before, after) else (before, after)


def _scale_problems(
    names: list[str], read: Checkpoint, precision: str, quantization: Quantization, layout: Layout
) -> Iterator[str]:
    if _is_quantized_on_load(precision, layout):
        return
    expected = FORMATS[precision].scales
    for name in names:
        if not _is_linear(name) or not name.endswith("weight"):
            continue
        scales = read.scales(name)
        is_folded = layout == "hf" and not name.endswith(tuple(f"{own}.weight" for own in _OWN_INPUT))
        wanted = expected - {"pre_quant_scale"} if is_folded and precision.endswith("_awq") else expected
        if set(scales) != wanted and not (not scales and quantization.exclude):
            yield f"{name} has the scales {_listed(scales)}, must have {_listed(wanted)}"
        for scale, values in scales.items():
            if not (np.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
                yield f"{name}: {scale} is not positive everywhere"


def _kv_problems(num_layers: int, read: Checkpoint, quantization: Quantization) -> Iterator[str]:
    for layer in range(num_layers):
        scales = read.kv_scales(layer)
        if quantization.kv_cache is None and scales:
            yield f"layer {layer} has scales of a KV cache that the recipe does not quantize"
        if quantization.kv_cache is not None and not (scales and all(0 < one < np.inf for one in scales)):
            yield f"layer {layer}: the scales of the {quantization.kv_cache} KV cache are {scales}, must be positive"


def _unified_problems(folder: Path, precision: str, quantization: Quantization) -> list[str]:
    path = folder / HF_QUANTIZATION
    if not path.is_file():
        algorithm = FORMATS[precision].algorithm
        return [] if algorithm is None and quantization.kv_cache is None else [f"{HF_QUANTIZATION} is missing"]
    said: Mapping[str, Any] = read_json(path).get("quantization", {})
    expected = {
        "quant_algo": FORMATS[precision].algorithm,
        "kv_cache_quant_algo": KV_ALGORITHMS[quantization.kv_cache],
    }
    return [
        f"{HF_QUANTIZATION} {key} is {said.get(key)}, must be {value}"
        for key, value in expected.items()
        if said.get(key) != value
    ]


def _reader(checkpoint: Path, layout: Layout) -> TrtllmCheckpoint | UnifiedCheckpoint:
    return TrtllmCheckpoint(checkpoint) if layout == "tensorrt_llm" else UnifiedCheckpoint(checkpoint)


def _is_linear(name: str) -> bool:
    return name.split(".")[-2].endswith("_proj")


def _is_quantized_on_load(precision: str, layout: Layout) -> bool:
    return layout == "tensorrt_llm" and precision.endswith("_wo")


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
