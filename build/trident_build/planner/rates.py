"""How fast it can be: the roofline of a step, bandwidth on one side and arithmetic on the other.

prefill  2 x weights + 4 x layers x heads x head size x (n / 2) operations a token   Kaplan 2020, arXiv:2001.08361, 2.1
decode   max(bytes / bandwidth, operations / rate) + overhead for one token of each of B sequences; the bytes are
         all weights once, and the KV cache of every sequence              Yuan 2024, arXiv:2402.16363, section 2
tp       two all-reduces a layer, each 2 (tp - 1) / tp x B x hidden x 2 bytes over the link   arXiv:1909.08053, 3
"""

from __future__ import annotations

from dataclasses import dataclass

from trident.errors import RecipeError
from trident_build.planner.memory import kv_bytes_per_token, weights_bytes
from trident_build.planner.parts import Part
from trident_build.planner.shapes import Shape
from trident_build.recipe import Recipe


@dataclass(frozen=True)
class Efficiency:
    """What of the peaks is reached; the estimates are no better than these."""

    bandwidth: float
    arithmetic: float


# GPU: what tuned kernels usually reach in decode and prefill. CPU: fitted to SmolLM2-135M on 2 cores with AVX-512 (793
# tokens/s at 32 streams, 86 at one); what `trident plan smollm2-135m --measured` prints side by side.
GPU = Efficiency(bandwidth=0.7, arithmetic=0.5)
CPU = Efficiency(bandwidth=0.8, arithmetic=0.6)
_ALL_REDUCE_S = 8e-6  # latency of one, over NVLink


def efficiency(part: Part) -> Efficiency:
    """Of that kind of part."""
    return CPU if part.is_cpu else GPU


def arithmetic(recipe: Recipe, part: Part) -> float:
    """Operations per second that the recipe's precision can have on one part; weight-only ones multiply in 16 bits.

    Raises:
        RecipeError: the part cannot multiply so.
    """
    wanted = {"fp8": "fp8", "w4a8_awq": "fp8", "int8_sq": "8", "nvfp4": "fp4"}.get(recipe.precision, "16")
    if wanted not in part.flops:
        raise RecipeError(
            f"{part.name} does not multiply in {wanted.upper()}, which precision '{recipe.precision}' of recipe "
            f"{recipe.name} needs; plan for another --gpu, or build int4_awq"
        )
    return part.flops[wanted] * efficiency(part).arithmetic


def prefill_tokens_per_s(recipe: Recipe, shape: Shape, part: Part, prompt_tokens: int) -> float:
    """Prompt tokens per second of all parts together, one prompt after the other."""
    attention = 4 * shape.layers * shape.heads * shape.head_dim * prompt_tokens / 2
    operations = 2 * (shape.active_weights - shape.hidden * shape.vocab_size) + attention  # logits: the last one's only
    return recipe.parallelism.world_size * arithmetic(recipe, part) / operations


def decode_step_s(recipe: Recipe, shape: Shape, part: Part, num_seqs: int, context_tokens: float) -> float:
    """Seconds of one step that brings one token to each of `num_seqs` sequences of `context_tokens` on average."""
    parallelism = recipe.parallelism
    bandwidth = part.bytes_per_s * efficiency(part).bandwidth
    kv_bytes = num_seqs * context_tokens * kv_bytes_per_token(recipe, shape) / parallelism.world_size
    memory_s = (_read_bytes(recipe, shape, num_seqs) + kv_bytes) / bandwidth
    attention = 4 * shape.layers * shape.heads * shape.head_dim * context_tokens
    operations = num_seqs * (2 * shape.active_weights + attention) / parallelism.world_size
    step_s = max(memory_s, operations / arithmetic(recipe, part)) * parallelism.pp  # one group of layers after another
    return step_s + part.overhead_s + _all_reduce_s(recipe, shape, part, num_seqs)


def _read_bytes(recipe: Recipe, shape: Shape, num_seqs: int) -> float:
    """Of one device in one step: its weights; of experts those that some sequence asks for; of a separate input
    embedding almost nothing."""
    total = weights_bytes(recipe, shape)
    if not shape.is_tied:
        total -= 2 * shape.hidden * shape.vocab_size / recipe.parallelism.tp
    if shape.num_experts > 1:
        share = 1 - (1 - shape.num_experts_per_token / shape.num_experts) ** num_seqs
        experts = 3 * shape.layers * shape.hidden * shape.intermediate * shape.num_experts
        total *= 1 - experts / shape.num_weights * (1 - share)
    return total


def _all_reduce_s(recipe: Recipe, shape: Shape, part: Part, num_seqs: int) -> float:
    tp = recipe.parallelism.tp
    if tp == 1 or not part.link_bytes_per_s:
        return 0.0
    sent_bytes = 2 * (tp - 1) / tp * num_seqs * shape.hidden * 2
    return 2 * shape.layers * (_ALL_REDUCE_S + sent_bytes / part.link_bytes_per_s)
