"""Engine directories as trtllm-build leaves them, without weights: GPT-2, Llama over two GPUs, Qwen over two by two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.models import WordLevel

from tests.unit.manifests import MANIFEST
from trident.manifest import EngineKind, Parallelism, Tokens, write_manifest

VOCABULARY = {"<eos>": 0, "the": 1, "bee": 2}
ENGINES: dict[str, dict[str, Any]] = {
    "gpt2": {"architecture": "GPTForCausalLM", "tp": 1, "pp": 1, "batch": 8, "beams": 4, "paged_fmha": False},
    "llama": {"architecture": "LlamaForCausalLM", "tp": 2, "pp": 1, "batch": 256, "beams": 1, "paged_fmha": True},
    "qwen": {"architecture": "Qwen2ForCausalLM", "tp": 2, "pp": 2, "batch": 64, "beams": 1, "paged_fmha": True},
}


def write_tensorrt_engine(directory: Path, name: str, **changes: Any) -> Path:
    """The engine `name` of ENGINES in `directory`; `changes` are of its manifest."""
    facts = ENGINES[name]
    (directory / "tokenizer").mkdir(parents=True)
    tokenizers.Tokenizer(WordLevel(VOCABULARY, "<eos>")).save(str(directory / "tokenizer" / "tokenizer.json"))
    world_size = facts["tp"] * facts["pp"]
    config = {
        "version": "1.2.1",
        "pretrained_config": {
            "architecture": facts["architecture"],
            "mapping": {"world_size": world_size, "tp_size": facts["tp"], "pp_size": facts["pp"], "cp_size": 1},
        },
        "build_config": {
            "max_batch_size": facts["batch"],
            "max_beam_width": facts["beams"],
            "plugin_config": {"use_paged_context_fmha": facts["paged_fmha"]},
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    manifest = MANIFEST.model_copy(
        update={
            "name": name,
            "kind": EngineKind.TENSORRT_LLM,
            "parallelism": Parallelism(tp=facts["tp"], pp=facts["pp"]),
            "tokens": Tokens(vocab_size=4, eos_ids=(0,), pad_id=0),
            **changes,
        }
    )
    write_manifest(directory, manifest)
    return directory
