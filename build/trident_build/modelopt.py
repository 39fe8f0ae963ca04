"""NVIDIA ModelOpt in a process of its own: `python -m trident_build.modelopt export`, JSON in, JSON out.

The builder's only import of modelopt; `modelopt_process` is the other side. It knows nothing of recipes.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import modelopt.torch.export.model_config_export as trtllm_export
import modelopt.torch.quantization as mtq
import torch
from modelopt.torch.export import export_hf_checkpoint, export_tensorrt_llm_checkpoint
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from trident_build.checkpoint_config import rotary
from trident_build.child import report_steps, serve_actions

_PRESETS = {
    "fp8": mtq.FP8_DEFAULT_CFG,
    "int4_awq": mtq.INT4_AWQ_CFG,
    "w4a8_awq": mtq.W4A8_AWQ_BETA_CFG,
    "int8_sq": mtq.INT8_SMOOTHQUANT_CFG,
    "nvfp4": mtq.NVFP4_DEFAULT_CFG,
    "int8_wo": mtq.INT8_WEIGHT_ONLY_CFG,
}
_UNQUANTIZED = {"quant_cfg": [{"quantizer_name": "*", "enable": False}], "algorithm": "max"}
_KV_BITS: dict[str, Any] = {"fp8": (4, 3), "int8": 8}
_DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16}


def export(
    source: str,
    output: str,
    layout: str,
    decoder: str,
    precision: str,
    group_size: int | None,
    kv_cache: str | None,
    exclude: list[str],
    samples: list[str],
    batch_size: int,
    tp: int,
    pp: int,
) -> dict[str, Any]:
    """Quantize the Hugging Face checkpoint `source` and write it to `output`; says which device did it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = _dtype(source, precision)
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, trust_remote_code=False)
    model.eval().to(device)
    config = quantizer_config(precision, group_size, kv_cache, exclude, layout)
    if config is not None:
        batches = _batches(source, samples, batch_size)
        mtq.quantize(model, config, lambda quantized: _watch(quantized, batches, device))
    with torch.inference_mode():
        if layout == "hf":
            export_hf_checkpoint(model, dtype=dtype, export_dir=output)
            _write_rotary(Path(source), Path(output))
        else:
            _export_tensorrt_llm(model, decoder, dtype, output, tp, pp)
    return {"device": device, "dtype": str(dtype).removeprefix("torch.")}


def quantizer_config(
    precision: str, group_size: int | None, kv_cache: str | None, exclude: list[str], layout: str
) -> dict[str, Any] | None:
    """ModelOpt's configuration; None where nothing is to be quantized.

    Weight-only formats stay unquantized in a TensorRT-LLM checkpoint: its loader quantizes them for its kernels.
    """
    is_loaded_unquantized = layout == "tensorrt_llm" and precision.endswith("_wo")
    preset = None if is_loaded_unquantized else _PRESETS.get(precision)
    if preset is None and kv_cache is None:
        return None
    config: dict[str, Any] = copy.deepcopy(preset or _UNQUANTIZED)
    entries = config["quant_cfg"]
    for entry in entries:
        parts = entry.get("cfg") or []
        for part in parts if isinstance(parts, list) else [parts]:
            if group_size is not None and part.get("block_sizes"):
                part["block_sizes"][-1] = group_size
    entries += [{"quantizer_name": f"*{pattern}*", "enable": False} for pattern in exclude]
    if kv_cache is not None:
        entries.append({"quantizer_name": "*[kv]_bmm_quantizer", "cfg": {"num_bits": _KV_BITS[kv_cache], "axis": None}})
    return config


def _dtype(source: str, precision: str) -> torch.dtype:
    """Of what stays unquantized: the source's; 16 bits of a source in 32, as TensorRT-LLM's quantize.py has it."""
    config = json.loads((Path(source) / "config.json").read_text(encoding="utf-8"))
    said = config.get("dtype", config.get("torch_dtype"))
    return _DTYPES.get(precision) or (torch.bfloat16 if said == "bfloat16" else torch.float16)


def _batches(source: str, samples: list[str], batch_size: int) -> list[torch.Tensor]:
    """int64[batch, tokens] each, cut to the shortest of its samples."""
    tokenizer = Tokenizer.from_file(str(Path(source) / "tokenizer.json"))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in samples]
    batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    return [torch.tensor([row[: min(map(len, batch))] for row in batch]) for batch in batches]


def _watch(model: Any, batches: list[torch.Tensor], device: str) -> None:
    """Let ModelOpt's observers see the samples; it calls this once or more for each algorithm."""
    with torch.inference_mode():
        for number, batch in enumerate(batches, 1):
            model.base_model(batch.to(device), use_cache=False)  # lm_head is never quantized, its logits are large
            report_steps(number, len(batches))


def _export_tensorrt_llm(model: Any, decoder: str, dtype: torch.dtype, output: str, tp: int, pp: int) -> None:
    # ModelOpt pads a vocabulary to a multiple of 64 for AWQ, and says the padded size in config.json: the engine would
    # sample ids that no tokenizer has. It is needed for a quantized lm_head only, and ours never is.
    trtllm_export.pad_embedding_lm_head = lambda *_: None
    export_tensorrt_llm_checkpoint(
        model, decoder, dtype, export_dir=output, inference_tensor_parallel=tp, inference_pipeline_parallel=pp
    )


def _write_rotary(source: Path, output: Path) -> None:
    """Say rope_theta and rope_scaling where transformers 4 looks for them, which TensorRT-LLM 1.2 runs on."""
    path = output / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    base, scaling = rotary(json.loads((source / "config.json").read_text(encoding="utf-8")))
    config |= {"rope_theta": base, "rope_scaling": scaling}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    serve_actions(export)
