"""What lies in a device's memory: weights, KV cache, activations and what the runtime takes. Bytes of one device.

Sources: https://nvidia.github.io/TensorRT-LLM/reference/memory.html (weights, activations, KV cache, the rest), and for
the KV cache Pope et al. 2022, arXiv:2211.05102, section 2.
"""

from __future__ import annotations

from trident.errors import RecipeError
from trident.manifest import EngineKind
from trident_build.planner.shapes import Shape
from trident_build.recipe import Recipe

_GROUP = 128  # weights that share a scale, where the recipe leaves it to the tool
# Bits of one weight of a linear layer, without its share of a scale.
_BITS = {
    "bf16": 16.0, "f16": 16.0, "f32": 32.0, "fp8": 8.0, "int8": 8.0, "int8_sq": 8.0, "int8_wo": 8.0,
    "int4": 4.0, "int4_wo": 4.0, "int4_awq": 4.0, "w4a8_awq": 4.0, "nvfp4": 4.0,
}  # fmt: skip
# Of GGUF's block formats, scales included: https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h
_GGUF_BITS = {"q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q8_0": 8.5, "q4_k": 4.5, "q5_k": 5.5, "q6_k": 6.5625}
_SCALED = {
    "int4": 20.0,
    "int4_awq": 16.0,
    "w4a8_awq": 16.0,
}  # bits of a scale; OpenVINO's has a zero point of 4 beside it
_NVFP4_GROUP, _NVFP4_SCALE_BITS = 16, 8.0
_KV_BYTES = {"fp8": 1.0, "int8": 1.0, "u8": 1.0, "u4": 0.5, "f16": 2.0}
RUNTIME_BYTES = 1_000_000_000  # CUDA context, kernels, NCCL and cuBLAS buffers: 0.5 to 1.5 GB is usual
_CPU_RUNTIME_BYTES = 250_000_000  # a Python process with OpenVINO


def weight_bits(recipe: Recipe) -> float:
    """Bits of one weight of a linear layer, its share of the scales included.

    Raises:
        RecipeError: the precision has no size here.
    """
    precision = recipe.precision
    for name, bits in _GGUF_BITS.items():
        if precision.startswith(name):
            return bits
    if precision not in _BITS:
        raise RecipeError(f"recipe {recipe.name}: how large weights of precision '{precision}' are is not known")
    bits = _BITS[precision]
    if precision == "nvfp4":
        return bits + _NVFP4_SCALE_BITS / _NVFP4_GROUP
    return bits + _SCALED.get(precision, 0.0) / (recipe.quantization.group_size or _GROUP)


def weights_bytes(recipe: Recipe, shape: Shape) -> float:
    """Of one device: linear layers in the recipe's precision; embedding, output layer and norms in 16 bits.

    OpenVINO and GGUF files keep the embedding in at most 8 bits, and count the output layer once where it is tied.
    """
    parallelism = recipe.parallelism
    rest_bits = 16.0
    if recipe.kind is EngineKind.OPENVINO:
        rest_bits = 16.0 if recipe.precision in {"f16", "bf16"} else max(8.0, weight_bits(recipe))
    linear = shape.linear_weights * weight_bits(recipe) / 8
    rest = (shape.num_weights - shape.linear_weights) * rest_bits / 8
    return linear / parallelism.world_size + rest / parallelism.tp


def kv_bytes_per_token(recipe: Recipe, shape: Shape) -> float:
    """Of all devices together: 2 (key and value) x layers x KV heads x head size x bytes of a value.

    Where there are fewer KV heads than devices in a group, several devices keep the same head.
    """
    copies = max(1.0, recipe.parallelism.tp / shape.kv_heads)
    asked = recipe.quantization.kv_cache
    default = 1.0 if recipe.kind is EngineKind.OPENVINO else 2.0  # the CPU plugin's u8; NVIDIA's engines keep 16 bits
    return copies * shape.kv_values_per_token * (default if asked is None else _KV_BYTES[asked])


def activation_bytes(recipe: Recipe, shape: Shape) -> float:
    """Of one device, of the largest step: the widest layer's inputs and outputs in 16 bits, and float32 logits.

    TensorRT lets buffers that do not live at the same time share memory, so one layer's are counted: hidden states
    twice, queries, keys and values, and the two gated halves of the MLP.
    """
    limits, tp = recipe.limits, recipe.parallelism.tp
    width = 2 * shape.hidden + ((shape.heads + 2 * shape.kv_heads) * shape.head_dim + 2 * shape.intermediate) / tp
    return 2 * limits.max_num_batched_tokens * width + 4 * limits.max_num_seqs * shape.vocab_size


def runtime_bytes(recipe: Recipe) -> float:
    """What is taken whatever the model is; an estimate."""
    return _CPU_RUNTIME_BYTES if recipe.kind is EngineKind.OPENVINO else RUNTIME_BYTES
