"""`plan_capacity`: a recipe on a part, as figures: what it needs, whether that fits, and what to do when not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trident.errors import RecipeError
from trident.manifest import EngineKind, Parallelism
from trident_build.checkpoint_formats import tensor_parallel_sizes
from trident_build.planner.memory import activation_bytes, kv_bytes_per_token, runtime_bytes, weights_bytes
from trident_build.planner.parts import Part
from trident_build.planner.rates import decode_step_s, prefill_tokens_per_s
from trident_build.planner.shapes import Shape
from trident_build.recipe import Recipe

_DEFAULT_FRACTION = 0.9  # TensorRT-LLM's free_gpu_memory_fraction
_MAX_TP = 8  # in one machine


@dataclass(frozen=True)
class Load:
    """The requests that are planned for, each of the same size."""

    prompt_tokens: int
    output_tokens: int
    gpu_hour_price: float | None = None  # of one part

    @property
    def seq_tokens(self) -> int:
        """At the end of one."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True)
class CapacityPlan:
    """Bytes are of one part, `kv_cache_tokens`, sequences and rates of all of them together."""

    recipe: str
    part: str
    num_parts: int
    num_weights: int
    memory_bytes: float
    weights_bytes: float
    activation_bytes: float
    runtime_bytes: float
    kv_bytes_per_token: float
    kv_cache_bytes: float  # 0 when nothing is left
    kv_cache_tokens: int
    num_seqs_that_fit: int  # of the planned size, in the KV cache
    num_seqs: int  # of them that run at once, within max_num_seqs
    prefill_tokens_per_s: float
    ttft_ms: float  # of one prompt alone
    decode_tokens_per_s_single: float
    decode_tokens_per_s: float  # at num_seqs
    tokens_per_s: float  # generated, prefill and decode taking turns
    cost_per_million_tokens: float | None  # generated ones
    fits: bool
    advice: str  # when it does not

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def plan_capacity(recipe: Recipe, shape: Shape, part: Part, load: Load) -> CapacityPlan:
    """Estimate everything; the formulas and their sources are in memory.py and rates.py.

    Raises:
        RecipeError: the precision has no known size, or none on this part; layers cannot be cut so; or the requests
            are longer than the recipe's limits.
    """
    _check(recipe, shape, load)
    num_parts = recipe.parallelism.world_size
    weights, activations, runtime = weights_bytes(recipe, shape), activation_bytes(recipe, shape), runtime_bytes(recipe)
    per_token = kv_bytes_per_token(recipe, shape)
    left = max(0.0, part.memory_bytes - weights - activations - runtime)
    kv_bytes = _kv_cache_bytes(recipe, per_token / num_parts, left)
    kv_tokens = int(kv_bytes * num_parts / per_token)
    that_fit = kv_tokens // load.seq_tokens
    num_seqs = min(that_fit, recipe.limits.max_num_seqs)
    fits = kv_tokens >= recipe.limits.max_seq_tokens and kv_bytes <= left
    prefill = prefill_tokens_per_s(recipe, shape, part, load.prompt_tokens)
    context = load.prompt_tokens + load.output_tokens / 2
    decode = num_seqs / decode_step_s(recipe, shape, part, max(1, num_seqs), context)
    seconds = load.prompt_tokens / prefill + (load.output_tokens / decode if decode else float("inf"))
    rate = load.output_tokens / seconds
    hour = None if load.gpu_hour_price is None else load.gpu_hour_price * num_parts
    return CapacityPlan(
        recipe=recipe.name,
        part=part.name,
        num_parts=num_parts,
        num_weights=shape.num_weights,
        memory_bytes=part.memory_bytes,
        weights_bytes=weights,
        activation_bytes=activations,
        runtime_bytes=runtime,
        kv_bytes_per_token=per_token,
        kv_cache_bytes=kv_bytes,
        kv_cache_tokens=kv_tokens,
        num_seqs_that_fit=that_fit,
        num_seqs=num_seqs,
        prefill_tokens_per_s=prefill,
        ttft_ms=1000 * (load.prompt_tokens / prefill + part.overhead_s),
        decode_tokens_per_s_single=1 / decode_step_s(recipe, shape, part, 1, context),
        decode_tokens_per_s=decode,
        tokens_per_s=rate,
        cost_per_million_tokens=hour / 3600 / rate * 1e6 if hour is not None and rate else None,
        fits=fits,
        advice="" if fits else _advice(recipe, shape, part),
    )


def _check(recipe: Recipe, shape: Shape, load: Load) -> None:
    limits, tp = recipe.limits, recipe.parallelism.tp
    possible = tensor_parallel_sizes(shape.heads, shape.kv_heads, shape.intermediate)
    if tp not in possible:
        sizes = ", ".join(map(str, possible))
        raise RecipeError(f"tp={tp} does not divide the layers of recipe {recipe.name}; use {sizes}")
    if load.prompt_tokens > limits.max_input_tokens or load.seq_tokens > limits.max_seq_tokens:
        raise RecipeError(
            f"a request of {load.prompt_tokens} and {load.output_tokens} tokens is beyond {recipe.name}: prompts "
            f"up to {limits.max_input_tokens}, {limits.max_seq_tokens} in all; say --prompt-tokens and --output-tokens"
        )


def _kv_cache_bytes(recipe: Recipe, per_token: float, left: float) -> float:
    """Of one part: what the recipe says, or its fraction of what is left."""
    limits = recipe.limits
    if limits.kv_cache_tokens is not None:
        return limits.kv_cache_tokens * per_token
    if limits.kv_cache_bytes is not None:
        return float(limits.kv_cache_bytes)
    return left * (limits.kv_cache_fraction or _DEFAULT_FRACTION)


def _advice(recipe: Recipe, shape: Shape, part: Part) -> str:
    """The least change that fits: a larger tp, or fewer bits."""
    found = []
    if not part.is_cpu:
        tp, possible = recipe.parallelism.tp, tensor_parallel_sizes(shape.heads, shape.kv_heads, shape.intermediate)
        larger = (size for size in possible if tp < size <= _MAX_TP)
        for candidate in larger:
            changed = recipe.model_copy(update={"parallelism": Parallelism(tp=candidate, pp=recipe.parallelism.pp)})
            if _fits(changed, shape, part):
                found.append(f"tp={candidate}")
                break
    for precision in ("fp8", "int4_awq") if recipe.kind is not EngineKind.OPENVINO else ("int8", "int4"):
        is_able = precision != "fp8" or "fp8" in part.flops
        changed = recipe.model_copy(update={"precision": precision})
        if is_able and weights_bytes(changed, shape) < weights_bytes(recipe, shape) and _fits(changed, shape, part):
            found.append(precision)
            break
    return f"use {' or '.join(found)}" if found else "use a smaller model, a shorter max_seq_tokens, or a larger part"


def _fits(recipe: Recipe, shape: Shape, part: Part) -> bool:
    """The weights, one step and the KV cache of one longest sequence, or as large a cache as the recipe demands."""
    left = part.memory_bytes - weights_bytes(recipe, shape) - activation_bytes(recipe, shape) - runtime_bytes(recipe)
    per_token = kv_bytes_per_token(recipe, shape) / recipe.parallelism.world_size
    kv_bytes = _kv_cache_bytes(recipe, per_token, max(0.0, left))
    return kv_bytes <= left and kv_bytes >= recipe.limits.max_seq_tokens * per_token
