"""A Hugging Face checkpoint of some 200 kilobytes, real and random: a llama of two layers with the tiny vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.build.tiny_source import recipe_of, vocabulary, write_gguf
from trident_build.gguf_file import read_gguf
from trident_build.recipe import Recipe
from trident_build.sources import FolderSource
from trident_build.tokenizer import convert_tokenizer, write_tokenizer

HIDDEN, INNER, HEADS, KV_HEADS, LAYERS = 64, 192, 4, 2, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "num_hidden_layers": LAYERS,
    "head_dim": HIDDEN // HEADS,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "dtype": "float32",
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the model."""
    kv_width = HIDDEN // HEADS * KV_HEADS
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (len(vocabulary()), HIDDEN)}
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        found |= {
            f"{layer}.input_layernorm.weight": (HIDDEN,),
            f"{layer}.post_attention_layernorm.weight": (HIDDEN,),
            f"{layer}.self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            f"{layer}.self_attn.k_proj.weight": (kv_width, HIDDEN),
            f"{layer}.self_attn.v_proj.weight": (kv_width, HIDDEN),
            f"{layer}.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            f"{layer}.mlp.gate_proj.weight": (INNER, HIDDEN),
            f"{layer}.mlp.up_proj.weight": (INNER, HIDDEN),
            f"{layer}.mlp.down_proj.weight": (HIDDEN, INNER),
        }
    return {**found, "model.norm.weight": (HIDDEN,)}


def write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> Path:
    """A safetensors file of random float32 values."""
    rng = np.random.default_rng(0)
    header: dict[str, Any] = {}
    content = b""
    for name, shape in tensors.items():
        values = rng.normal(scale=0.1, size=shape) if len(shape) > 1 else np.ones(shape)
        data = values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content), len(content) + len(data)]}
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def write_checkpoint(folder: Path, **changes: Any) -> Path:
    """The checkpoint in `folder`; `changes` replace values of config.json."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(vocabulary()), **changes}))
    write_safetensors(folder / "model.safetensors", shapes())
    gguf = write_gguf(folder / "tiny.gguf", chat_template="{{ messages }}")
    metadata = read_gguf(gguf)
    write_tokenizer(metadata, convert_tokenizer(metadata), folder)
    for path in (folder / "tokenizer").iterdir():
        path.rename(folder / path.name)
    (folder / "tokenizer").rmdir()
    gguf.unlink()
    return folder


def write_adapter(folder: Path, rank: int = 4, **changes: Any) -> Path:
    """A PEFT adapter of the checkpoint's first q_proj; `changes` replace values of its config."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "base_model_name_or_path": "tiny", **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{layer}.lora_A.weight": (rank, HIDDEN), f"{layer}.lora_B.weight": (HIDDEN, rank)}
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    return folder


def folder_recipe(folder: Path, **changes: Any) -> Recipe:
    """A recipe for an engine of the checkpoint in `folder`."""
    source = FolderSource(type="folder", path=folder, model="Tiny", licence="Apache-2.0")
    return recipe_of(source, **{"precision": "int8", **changes})
