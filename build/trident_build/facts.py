"""What a build must know of a model, whatever kind of file it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trident.errors import RecipeError
from trident.manifest import EngineKind, Limits, RequestLimits, Tokens
from trident_build.recipe import Recipe

_KV_BYTES = {"u4": 0.5, "u8": 1.0, "int8": 1.0, "fp8": 1.0, "f16": 2.0}
_DEFAULT_KV_BYTES = {EngineKind.OPENVINO: 1.0}  # its CPU plugin's u8; NVIDIA's engines keep 16 bits
GROUP_SIZES = (128, 64, 32)  # tried in this order; larger groups are faster and a little less exact


@dataclass(frozen=True)
class ModelFacts:
    """One model before it is quantized."""

    architecture: str  # "LlamaForCausalLM"; of a GGUF file "llama"
    precision: str  # of most tensors: "bf16", "q4_1"
    context_tokens: int
    tokens: Tokens
    special_tokens: Mapping[str, int]  # texts that are one token each and never come from merging
    widths: Mapping[str, int] = field(default_factory=dict)  # tensor of a linear layer -> length of its input
    kv_values_per_token: int | None = None  # keys and values of all layers
    weights_bytes: int = 0


def check_limits(recipe: Recipe, facts: ModelFacts) -> None:
    """Refuse limits beyond the model's context.

    Raises:
        RecipeError: names both.
    """
    if recipe.limits.max_seq_tokens > facts.context_tokens:
        raise RecipeError(
            f"recipe {recipe.name}: max_seq_tokens {recipe.limits.max_seq_tokens} is beyond the model's context "
            f"of {facts.context_tokens} tokens"
        )


def choose_group_size(recipe: Recipe, facts: ModelFacts) -> int:
    """Weights that share a scale: the recipe's number, or the largest usual one that divides every layer.

    Raises:
        RecipeError: it does not divide a layer; names the layer, its width and a size that does.
    """
    asked = recipe.quantization.group_size
    for size in GROUP_SIZES if asked is None else (asked,):
        odd = next(((name, width) for name, width in facts.widths.items() if width % size), None)
        if odd is None:
            return size
    name, width = odd or ("", 0)
    fitting = [size for size in GROUP_SIZES if not any(width % size for width in facts.widths.values())]
    advice = f"use {' or '.join(map(str, fitting))}" if fitting else "use precision 'int8'"
    raise RecipeError(
        f"recipe {recipe.name}: group_size {asked or GROUP_SIZES[-1]} does not divide {name}, which is {width} wide; "
        f"{advice}"
    )


def resolve_limits(recipe: Recipe, facts: ModelFacts) -> Limits:
    """The manifest's limits: bytes of KV cache become tokens, a fraction the least that must fit.

    Raises:
        RecipeError: bytes that hold less than the longest sequence, or of a model whose sizes are not known.
    """
    asked = recipe.limits
    if asked.kv_cache_tokens is not None:
        num_tokens = asked.kv_cache_tokens
    elif asked.kv_cache_bytes is not None:
        num_tokens = int(asked.kv_cache_bytes // kv_bytes_per_token(recipe, facts))
        if num_tokens < asked.max_seq_tokens:
            raise RecipeError(
                f"recipe {recipe.name}: {asked.kv_cache_bytes} kv_cache_bytes hold {num_tokens} tokens, one sequence "
                f"has up to {asked.max_seq_tokens}"
            )
    else:
        num_tokens = asked.max_seq_tokens
    shared = {name: getattr(asked, name) for name in RequestLimits.model_fields}
    return Limits(**shared, kv_cache_tokens=num_tokens)


def kv_bytes_per_token(recipe: Recipe, facts: ModelFacts) -> float:
    """Bytes that one token takes in the KV cache: 2 x layers x KV heads x head size x bytes of a value.

    Raises:
        RecipeError: the file does not say how large its heads are.
    """
    if facts.kv_values_per_token is None:
        raise RecipeError(f"recipe {recipe.name}: the model does not say its sizes; use kv_cache_tokens")
    precision = recipe.quantization.kv_cache
    bytes_per_value = _DEFAULT_KV_BYTES.get(recipe.kind, 2.0) if precision is None else _KV_BYTES[precision]
    return facts.kv_values_per_token * bytes_per_value
