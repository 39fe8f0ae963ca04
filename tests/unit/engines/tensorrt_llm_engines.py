"""Engine directories of both TensorRT-LLM kinds, and the double of TensorRT-LLM that loads them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.unit.engines.adapter_suite import LIMITS
from tests.unit.manifests import MANIFEST
from trident.engines.tensorrt_llm import TensorRtLlmEngine
from trident.manifest import EngineKind, Manifest, Tokens

DOUBLES = Path(__file__).parents[2] / "doubles"
KINDS = (EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH)
VOCAB_SIZE = 4000
VERSION = "1.2.1"


@contextmanager
def double_installed() -> Iterator[Any]:
    """The double as `tensorrt_llm`, importable until the end; nothing of it stays behind."""
    sys.path.insert(0, str(DOUBLES))
    try:
        yield importlib.import_module("tensorrt_llm")
    finally:
        sys.path.remove(str(DOUBLES))
        for name in [name for name in sys.modules if name.split(".")[0] in {"tensorrt_llm", "torch"}]:
            del sys.modules[name]


def manifest_of(kind: EngineKind, **changes: Any) -> Manifest:
    """With the suite's limits."""
    tokens = Tokens(vocab_size=VOCAB_SIZE, eos_ids=(2, 7), bos_id=1, pad_id=0)
    return MANIFEST.model_copy(update={"kind": kind, "limits": LIMITS, "tokens": tokens, **changes})


def engine_config(manifest: Manifest, **build_config: Any) -> dict[str, Any]:
    """The `config.json` of an engine that was built for the manifest's limits."""
    limits = manifest.limits
    return {
        "version": VERSION,
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "mapping": {"tp_size": manifest.parallelism.tp, "pp_size": manifest.parallelism.pp},
        },
        "build_config": {
            "max_batch_size": limits.max_num_seqs,
            "max_input_len": limits.max_input_tokens,
            "max_seq_len": limits.max_seq_tokens,
            "max_num_tokens": limits.max_num_batched_tokens,
            "max_beam_width": 4,
            "plugin_config": {"tokens_per_block": 32, "lora_plugin": "auto"},
            **build_config,
        },
    }


def write_engine(directory: Path, manifest: Manifest, **build_config: Any) -> Path:
    """The files that the adapter and the double look at."""
    (directory / "tokenizer").mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer" / "tokenizer.json").write_text("{}")
    if manifest.kind is EngineKind.TENSORRT_LLM:
        (directory / "config.json").write_text(json.dumps(engine_config(manifest, **build_config)))
        for rank in range(manifest.parallelism.world_size):
            (directory / f"rank{rank}.engine").touch()
    return directory


def load(directory: Path, kind: EngineKind, **changes: Any) -> TensorRtLlmEngine:
    """An engine of its own directory, with changes of the manifest."""
    manifest = manifest_of(kind, **changes)
    return TensorRtLlmEngine(write_engine(directory, manifest), manifest)
