"""The sizes of a decoder: what memory and arithmetic follow from. From config.json, a GGUF file, or the table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.errors import RecipeError, did_you_mean


@dataclass(frozen=True)
class Shape:
    """A decoder with grouped-query attention and a gated MLP: Llama, Qwen, Mistral, Gemma, SmolLM and their like."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    is_tied: bool  # the output layer is the embedding again
    num_experts: int = 1  # of the MLP, in each layer
    num_experts_per_token: int = 1

    @property
    def attention_weights(self) -> int:
        """Of one layer: query, key, value and output projections."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def linear_weights(self) -> int:
        """Of all layers: what quantizers make smaller."""
        mlp = 3 * self.hidden * self.intermediate * self.num_experts
        return self.layers * (self.attention_weights + mlp)

    @property
    def active_weights(self) -> int:
        """What one token is multiplied with: of the experts only its own; the output layer too."""
        mlp = 3 * self.hidden * self.intermediate * self.num_experts_per_token
        return self.layers * (self.attention_weights + mlp) + self.hidden * self.vocab_size

    @property
    def embedding_weights(self) -> int:
        """Of the input and the output layer, once where they are tied."""
        return self.hidden * self.vocab_size * (1 if self.is_tied else 2)

    @property
    def num_weights(self) -> int:
        """All of them, the norms' few included."""
        return self.linear_weights + self.embedding_weights + self.hidden * (2 * self.layers + 1)

    @property
    def kv_values_per_token(self) -> int:
        """Keys and values of all layers. Layers with a sliding window keep less of a long text; that is not counted."""
        return 2 * self.layers * self.kv_heads * self.head_dim


# Each from the config.json of the repository on huggingface.co that the name says.
KNOWN: dict[str, Shape] = {
    "smollm2-135m": Shape(30, 576, 1536, 9, 3, 64, 49152, is_tied=True),  # HuggingFaceTB/SmolLM2-135M-Instruct
    "llama-3.1-8b": Shape(32, 4096, 14336, 32, 8, 128, 128256, is_tied=False),  # meta-llama/Llama-3.1-8B-Instruct
    "llama-3.1-70b": Shape(80, 8192, 28672, 64, 8, 128, 128256, is_tied=False),  # meta-llama/Llama-3.1-70B-Instruct
    "llama-3.3-70b": Shape(80, 8192, 28672, 64, 8, 128, 128256, is_tied=False),  # meta-llama/Llama-3.3-70B-Instruct
    "mistral-7b": Shape(32, 4096, 14336, 32, 8, 128, 32768, is_tied=False),  # mistralai/Mistral-7B-Instruct-v0.3
    "qwen3-0.6b": Shape(28, 1024, 3072, 16, 8, 128, 151936, is_tied=True),  # Qwen/Qwen3-0.6B
    "qwen3-4b": Shape(36, 2560, 9728, 32, 8, 128, 151936, is_tied=True),  # Qwen/Qwen3-4B
    "qwen3-8b": Shape(36, 4096, 12288, 32, 8, 128, 151936, is_tied=False),  # Qwen/Qwen3-8B
    "qwen3-14b": Shape(40, 5120, 17408, 40, 8, 128, 151936, is_tied=False),  # Qwen/Qwen3-14B
    "qwen3-32b": Shape(64, 5120, 25600, 64, 8, 128, 151936, is_tied=False),  # Qwen/Qwen3-32B
    "gemma-2-9b": Shape(42, 3584, 14336, 16, 8, 256, 256000, is_tied=True),  # google/gemma-2-9b-it
    "gemma-3-1b": Shape(26, 1152, 6912, 4, 1, 256, 262144, is_tied=True),  # google/gemma-3-1b-it
    "gemma-3-12b": Shape(48, 3840, 15360, 16, 8, 256, 262208, is_tied=True),  # google/gemma-3-12b-it, its text model
}


def known_shape(model: str) -> Shape:
    """The shape of a model by any name that holds one of the table's: "meta-llama/Llama-3.1-8B-Instruct".

    Raises:
        RecipeError: the table has none; says which it has.
    """
    plain = re.sub(r"[^a-z0-9.]+", "-", model.lower())
    found = [name for name in KNOWN if re.search(rf"(^|-){re.escape(name)}(-|$)", plain)]
    if not found:
        hint = did_you_mean(plain, KNOWN)
        raise RecipeError(
            f"the sizes of model '{model}' are not known{hint}; known: {', '.join(KNOWN)}; "
            "or give its config.json with --config"
        )
    return KNOWN[max(found, key=len)]


def shape_from_config(path: Path) -> Shape:
    """The shape in a Hugging Face config.json; that of the text model where there are several.

    Raises:
        RecipeError: it cannot be read, or lacks a size; names the key.
    """
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise RecipeError(f"{path} cannot be read: {exc}") from exc
    config = config.get("text_config", config)
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        experts = config.get("num_local_experts") or config.get("num_experts") or 1
        return Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            intermediate=int(config.get("moe_intermediate_size") or config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or hidden // heads),
            vocab_size=int(config["vocab_size"]),
            is_tied=bool(config.get("tie_word_embeddings", False)),
            num_experts=int(experts),
            num_experts_per_token=int(config.get("num_experts_per_tok") or 1),
        )
    except KeyError as exc:
        raise RecipeError(f"{path} has no {exc.args[0]}; it is no decoder's config.json") from exc
    except (TypeError, ValueError) as exc:
        raise RecipeError(f"{path}: a size is no number: {exc}") from exc
