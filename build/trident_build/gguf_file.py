"""What a GGUF file says of itself. The only import of the gguf library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from trident.errors import RecipeError


class TokenType(IntEnum):
    """GGUF's `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class GgufMetadata:
    """The keys that a build needs, of one file."""

    architecture: str
    precision: str  # "q4_1", "q8_0", ...: of most tensors
    context_tokens: int
    tokenizer_model: str  # "gpt2" is byte-level BPE
    pre_tokenizer: str  # the name of a splitting rule
    tokens: tuple[str, ...]  # byte-level spelling, position = id
    token_types: tuple[TokenType, ...]
    merges: tuple[tuple[str, str], ...]
    eos_id: int
    bos_id: int | None
    pad_id: int | None
    unknown_id: int | None
    adds_bos: bool
    chat_template: str | None
    widths: Mapping[str, int]  # tensor of a linear layer -> length of its input
    kv_values_per_token: int | None  # keys and values of all layers

    def token(self, token_id: int | None) -> str | None:
        """The text of a token, or None for no id."""
        return None if token_id is None else self.tokens[token_id]

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Texts that are one token each and never come from merging."""
        return tuple(t for t, kind in zip(self.tokens, self.token_types, strict=True) if kind is TokenType.CONTROL)


def read_gguf(path: Path) -> GgufMetadata:
    """The metadata of the GGUF file at `path`; its tensors are not looked at.

    Raises:
        RecipeError: not a GGUF file, or one without a key that a build needs.
    """
    import gguf  # noqa: PLC0415 - an optional dependency; `plan_engine` says so when it is missing

    try:
        reader = gguf.GGUFReader(path)
    except (ValueError, IndexError, OSError) as exc:
        raise RecipeError(f"{path.name} is no intact GGUF file: {exc}") from exc
    fields: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
    try:
        # ne[0], the first of a GGUF shape, is the length of a row
        widths = {t.name: int(t.shape[0]) for t in reader.tensors if t.name.startswith("blk.") and len(t.shape) == 2}
        return _metadata(fields, gguf.LlamaFileType(fields["general.file_type"]).name, widths)
    except KeyError as exc:
        raise RecipeError(f"{path.name} has no metadata key {exc}, which a build needs") from exc


def _metadata(fields: dict[str, Any], file_type: str, widths: Mapping[str, int]) -> GgufMetadata:
    architecture = fields["general.architecture"]
    tokenizer = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
    return GgufMetadata(
        architecture=architecture,
        precision=file_type.removeprefix("MOSTLY_").lower(),
        context_tokens=fields[f"{architecture}.context_length"],
        tokenizer_model=tokenizer["model"],
        pre_tokenizer=tokenizer["pre"],
        tokens=tuple(tokenizer["tokens"]),
        token_types=tuple(TokenType(kind) for kind in tokenizer["token_type"]),
        merges=tuple((left, right) for left, _, right in (merge.partition(" ") for merge in tokenizer["merges"])),
        eos_id=tokenizer["eos_token_id"],
        bos_id=tokenizer.get("bos_token_id"),
        pad_id=tokenizer.get("padding_token_id"),
        unknown_id=tokenizer.get("unknown_token_id"),
        adds_bos=tokenizer.get("add_bos_token", False),
        chat_template=fields.get("tokenizer.chat_template"),
        widths=widths,
        kv_values_per_token=_kv_values(fields, architecture),
    )


def _kv_values(fields: dict[str, Any], architecture: str) -> int | None:
    sizes = {key.removeprefix(f"{architecture}."): value for key, value in fields.items()}
    heads, layers, hidden = (sizes.get(key) for key in ("attention.head_count", "block_count", "embedding_length"))
    if not (heads and layers and hidden):
        return None
    head_size = sizes.get("attention.key_length", hidden // heads)
    return int(2 * layers * sizes.get("attention.head_count_kv", heads) * head_size)
