"""An engine directory in the words of TensorRT-LLM: the arguments of `LLM(...)`, as plain values.

Arguments of an argument's own are a dictionary under its name; `tensorrt_llm_api.py` makes the objects. It imports
nothing of TensorRT-LLM, so that a test can hold every name, type and default against the facts of its API.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trident.engines.tensorrt_llm_limits import has_guides
from trident.errors import ManifestError
from trident.manifest import DraftModel, EngineKind, Manifest, PromptLookup

SECTIONS = ("kv_cache_config", "scheduler_config", "cuda_graph_config", "peft_cache_config")
# Code of a checkpoint's author must not run here; the other two would give text where ids are wanted.
_REFUSED = frozenset({"trust_remote_code", "num_postprocess_workers", "backend"})
_TOKENIZER = "tokenizer"  # folder of an engine directory


def llm_arguments(directory: Path, manifest: Manifest, max_beam_width: int = 1) -> dict[str, Any]:
    """The arguments with which the engine in `directory` is loaded.

    Args:
        directory: of the engine or the checkpoint.
        manifest: its own; an option named `section.argument` belongs to one of SECTIONS.
        max_beam_width: what the engine was built for.

    Raises:
        ManifestError: an option that the manifest has a field for, or that must not be set; speculation that
            engines of this kind cannot do; a LoRA adapter that cannot be read.
    """
    limits = manifest.limits
    arguments: dict[str, Any] = {
        "model": str(directory),
        "tensor_parallel_size": manifest.parallelism.tp,
        "pipeline_parallel_size": manifest.parallelism.pp,
        "max_batch_size": limits.max_num_seqs,
        "max_input_len": limits.max_input_tokens,
        "max_seq_len": limits.max_seq_tokens,
        "max_num_tokens": limits.max_num_batched_tokens,
        "max_beam_width": max_beam_width,
        "kv_cache_config": _kv_cache(manifest),
        "scheduler_config": {},
    }
    if has_guides(manifest):
        arguments["tokenizer"] = str(directory / _TOKENIZER)  # which xgrammar compiles its guides for
        arguments["guided_decoding_backend"] = "xgrammar"
    if manifest.kind is EngineKind.TENSORRT_LLM_PYTORCH:
        arguments["enable_iter_perf_stats"] = True  # an engine's executor always has them
    arguments |= _speculation(directory, manifest) | _loras(directory, manifest)
    _add_options(arguments, manifest)
    arguments.setdefault("enable_chunked_prefill", True)  # as `max_num_batched_tokens` promises
    return arguments


def _kv_cache(manifest: Manifest) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if manifest.kv_cache_fraction is None:
        config["max_tokens"] = manifest.limits.kv_cache_tokens
    else:
        config["free_gpu_memory_fraction"] = manifest.kv_cache_fraction
    if manifest.kv_cache_precision and manifest.kind is EngineKind.TENSORRT_LLM_PYTORCH:
        config["dtype"] = manifest.kv_cache_precision  # an engine has it built in: TrtLlmArgs takes "auto" only
    return config


def _speculation(directory: Path, manifest: Manifest) -> dict[str, Any]:
    speculation = manifest.speculation
    if speculation is None:
        return {}
    if manifest.kind is EngineKind.TENSORRT_LLM:
        raise ManifestError(
            f"engine {manifest.name}: a TensorRT engine cannot speculate by {speculation.kind}; leave speculation out, "
            f"or build the model as kind {EngineKind.TENSORRT_LLM_PYTORCH.value}"
        )
    config: dict[str, Any] = {"max_draft_len": speculation.num_draft_tokens}
    if isinstance(speculation, PromptLookup):
        config |= {"decoding_type": "NGram", "max_matching_ngram_size": speculation.max_ngram_tokens}
        config["is_public_pool"] = False  # else what one asker wrote would be proposed to the next
    elif isinstance(speculation, DraftModel):
        config |= {"decoding_type": "DraftTarget", "speculative_model_dir": str(directory / speculation.path)}
    return {"speculative_config": config, "disable_overlap_scheduler": True}


def _loras(directory: Path, manifest: Manifest) -> dict[str, Any]:
    if not manifest.loras:
        return {}
    if manifest.kind is EngineKind.TENSORRT_LLM:
        return {"enable_lora": True}  # the engine says the rest; a config from here would take its place
    folders = [directory / path for path in manifest.loras.values()]
    config = {
        "lora_dir": [str(folder) for folder in folders],
        "max_lora_rank": max(_rank(folder, manifest) for folder in folders),
        "max_loras": manifest.max_loras,
        "max_cpu_loras": len(folders),
    }
    return {"lora_config": config}


def _rank(folder: Path, manifest: Manifest) -> int:
    try:
        return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ManifestError(
            f"engine {manifest.name}: the LoRA adapter {folder.name} cannot be read ({type(exc).__name__}: {exc}); "
            "it must be a PEFT adapter"
        ) from exc


def _add_options(arguments: dict[str, Any], manifest: Manifest) -> None:
    for name, value in manifest.options.items():
        section, dot, key = name.rpartition(".")
        if dot and section not in SECTIONS:
            raise ManifestError(
                f"engine {manifest.name}: option '{name}' is of no section; there are {', '.join(SECTIONS)}"
            )
        place = arguments.setdefault(section, {}) if dot else arguments
        if key in place or name in _REFUSED or name in SECTIONS:
            raise ManifestError(
                f"engine {manifest.name}: '{name}' cannot be set by an option; the manifest's other fields say it, "
                "or it must stay as it is"
            )
        place[key] = value
