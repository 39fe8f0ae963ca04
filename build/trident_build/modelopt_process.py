"""From a Hugging Face checkpoint to a quantized one of NVIDIA's, by ModelOpt in a child process.

Refuses first what cannot be, mends what ModelOpt leaves wrong, and carries the tokenizer over. `modelopt` is what runs
in the child; whether the outcome is right is for `checkpoint_verify` to say.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from trident.errors import RecipeError
from trident.manifest import Parallelism
from trident_build.calibration import cut_samples
from trident_build.checkpoint_config import mend_config
from trident_build.checkpoint_formats import DECODERS, FORMATS, Layout, Shape, check_format, group_size
from trident_build.child import run_in_child
from trident_build.hf_checkpoint import TOKENIZER_FILES, read_json
from trident_build.progress import Stage
from trident_build.recipe import Calibration, Quantization

MODULE = "trident_build.modelopt"
CALIBRATED = frozenset({"fp8", "int4_awq", "w4a8_awq", "int8_sq", "nvfp4"})
MAX_AWQ_SAMPLES = 32  # TensorRT-LLM's quantize.py stops there too: the search runs each many times
_CARRIED = (*TOKENIZER_FILES, "generation_config.json")


@dataclass(frozen=True)
class Exported:
    """What was done."""

    algorithm: str | None  # TensorRT-LLM's QuantAlgo
    group_size: int | None
    num_samples: int  # that ModelOpt was shown
    device: str  # "cpu" or "cuda"
    dtype: str  # of what is not quantized


def export_checkpoint(
    source: Path,
    output: Path,
    *,
    precision: str,
    quantization: Quantization,
    calibration: Calibration,
    parallelism: Parallelism,
    layout: Layout,
    stage: Stage | None = None,
    log: Path | None = None,
) -> Exported:
    """Quantize the Hugging Face checkpoint in `source` into the folder `output`, on the GPU where PyTorch finds one.

    Layout "tensorrt_llm": config.json and rank0.safetensors to rank{tp * pp - 1}.safetensors. Layout "hf": one unified
    checkpoint, whatever the parallelism. The tokenizer's files go with both.

    Raises:
        RecipeError: the model cannot be cut or grouped so, the calibration text is too short, or ModelOpt refuses.
        HostError: the child process was killed, or the disk is full.
    """
    request = export_request(source, output, precision, quantization, calibration, parallelism, layout)
    output.mkdir(parents=True, exist_ok=True)
    what = f"ModelOpt cannot make {precision} of this model"
    done = run_in_child(what, MODULE, "export", stage=stage, log=log, **request)
    if layout == "tensorrt_llm":
        mend_config(output, read_json(source / "config.json"), precision, parallelism)
    for name in _CARRIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
    return Exported(FORMATS[precision].algorithm, request["group_size"], len(request["samples"]), **done)


def export_request(
    source: Path,
    output: Path,
    precision: str,
    quantization: Quantization,
    calibration: Calibration,
    parallelism: Parallelism,
    layout: Layout,
) -> dict[str, Any]:
    """The arguments of `modelopt.export`, everything checked that can be before the weights are read.

    Raises:
        RecipeError: see `export_checkpoint`.
    """
    shape = Shape.of(read_json(source / "config.json"))
    check_format(shape, precision, quantization, parallelism, layout)
    return {
        "source": str(source),
        "output": str(output),
        "layout": layout,
        "decoder": DECODERS.get(shape.architecture, ""),
        "precision": precision,
        "group_size": group_size(shape, precision, quantization, parallelism),
        "kv_cache": quantization.kv_cache,
        "exclude": list(quantization.exclude),
        "samples": _samples(source, precision, quantization, calibration),
        "batch_size": calibration.batch_size,
        "tp": parallelism.tp,
        "pp": parallelism.pp,
    }


def _samples(source: Path, precision: str, quantization: Quantization, calibration: Calibration) -> list[str]:
    if precision not in CALIBRATED and quantization.kv_cache is None:
        return []
    path = source / "tokenizer.json"
    if not path.is_file():
        raise RecipeError(f"{source.name} has no tokenizer.json, which calibration needs")
    calibration = calibration.model_copy(update={"num_samples": num_shown(precision, calibration)})
    return cut_samples(calibration, Tokenizer.from_file(str(path)))


def num_shown(precision: str, calibration: Calibration) -> int:
    """How many samples ModelOpt is shown."""
    return min(calibration.num_samples, MAX_AWQ_SAMPLES) if precision.endswith("_awq") else calibration.num_samples
