"""What the quantized checkpoints of NVIDIA's engines are made of: facts, and the refusals that follow from them.

Names of algorithms and tensors: TensorRT-LLM's QuantAlgo and checkpoint format. Knows nothing of ModelOpt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trident.errors import RecipeError
from trident.manifest import EngineKind, Parallelism
from trident_build.recipe import Quantization

Layout = Literal["tensorrt_llm", "hf"]  # for trtllm-build; for the PyTorch backend
AWQ_GROUPS = (128, 64)  # that TensorRT-LLM's weight-only kernels know, larger ones first
NVFP4_GROUP = 16
# HF architectures whose TensorRT-LLM checkpoint is written and compared here -> ModelOpt's name for the decoder.
DECODERS = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen",
    "Qwen3ForCausalLM": "qwen",
}


@dataclass(frozen=True)
class Format:
    """One precision."""

    algorithm: str | None  # QuantAlgo
    bound: float  # largest relative error, |W' - W| / |W| by Frobenius norm, that a sound export of one tensor has
    scales: frozenset[str] = frozenset()  # of one linear layer, beside its weight
    is_grouped: bool = False  # one scale for each group of inputs


_WEIGHT, _WEIGHT_2, _INPUT, _SMOOTH = "weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale"
# Bounds: about 1.5 times the errors of a normal distribution, more where one outlier sets the step of a whole row
# (int8_sq, int4_wo). A nibble, a scale or a rank in the wrong place gives about 1.
FORMATS = {
    "bf16": Format(None, 0.004),
    "f16": Format(None, 0.004),
    "fp8": Format("FP8", 0.045, frozenset({_WEIGHT, _INPUT})),
    "int4_awq": Format("W4A16_AWQ", 0.18, frozenset({_WEIGHT, _SMOOTH}), is_grouped=True),
    "w4a8_awq": Format("W4A8_AWQ", 0.18, frozenset({_WEIGHT, _WEIGHT_2, _INPUT, _SMOOTH}), is_grouped=True),
    "int8_sq": Format("W8A8_SQ_PER_CHANNEL", 0.10, frozenset({_WEIGHT, _INPUT, _SMOOTH})),
    "nvfp4": Format("NVFP4", 0.14, frozenset({_WEIGHT, _WEIGHT_2, _INPUT}), is_grouped=True),
    "int8_wo": Format("W8A16", 0.03, frozenset({_WEIGHT})),
    "int4_wo": Format("W4A16", 0.35, frozenset({_WEIGHT})),
}
UNQUANTIZED_BOUND = 0.004  # bfloat16 keeps 8 bits
KV_ALGORITHMS = {None: None, "fp8": "FP8", "int8": "INT8"}


def layout_of(kind: EngineKind) -> Layout:
    """What an engine of one of NVIDIA's kinds is made of."""
    return "tensorrt_llm" if kind is EngineKind.TENSORRT_LLM else "hf"


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder that matter when its layers are cut."""

    architecture: str
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From the content of a Hugging Face config.json.

        Raises:
            RecipeError: a size is missing.
        """
        try:
            heads = int(config["num_attention_heads"])
            return cls(
                architecture=config["architectures"][0],
                num_layers=config["num_hidden_layers"],
                hidden_size=config["hidden_size"],
                intermediate_size=config["intermediate_size"],
                num_heads=heads,
                num_kv_heads=config.get("num_key_value_heads") or heads,
                head_size=config.get("head_dim") or config["hidden_size"] // heads,
                vocab_size=config["vocab_size"],
            )
        except (KeyError, IndexError, TypeError) as exc:
            raise RecipeError(f"config.json of the source says no {exc}, which quantization needs") from exc

    def input_widths(self, tp: int) -> dict[str, int]:
        """Length of the input of each linear layer, on one of `tp` GPUs."""
        return {
            "q_proj, k_proj, v_proj, gate_proj, up_proj": self.hidden_size,
            "o_proj": self.num_heads * self.head_size // tp,
            "down_proj": self.intermediate_size // tp,
        }


def check_format(
    shape: Shape, precision: str, quantization: Quantization, parallelism: Parallelism, layout: Layout
) -> None:
    """Refuse what no checkpoint can be: before anything is loaded.

    Raises:
        RecipeError: names the value and what to use.
    """
    if layout == "tensorrt_llm" and shape.architecture not in DECODERS:
        raise RecipeError(
            f"{shape.architecture} has no TensorRT-LLM checkpoint here (known: {', '.join(DECODERS)}); "
            "use kind 'tensorrt_llm_pytorch'"
        )
    if layout == "hf" and precision == "int4_wo":
        raise RecipeError("precision 'int4_wo' has no unified Hugging Face checkpoint; use 'int4_awq'")
    if layout == "hf" and quantization.kv_cache == "int8":
        raise RecipeError("quantization.kv_cache 'int8' has no unified Hugging Face checkpoint; use 'fp8'")
    if layout == "tensorrt_llm" and precision.endswith("_wo") and set(quantization.exclude) - {"lm_head"}:
        raise RecipeError(
            f"quantization.exclude does not go with '{precision}': TensorRT-LLM quantizes them all as it loads"
        )
    _check_parallelism(shape, parallelism)
    if precision == "int8_sq" and parallelism.tp > shape.num_kv_heads:
        raise RecipeError(
            f"int8_sq with parallelism.tp {parallelism.tp} would repeat the {shape.num_kv_heads} key-value heads, "
            "which ModelOpt cannot; use fp8, or a smaller tp"
        )
    group_size(shape, precision, quantization, parallelism)


def group_size(shape: Shape, precision: str, quantization: Quantization, parallelism: Parallelism) -> int | None:
    """Weights that share a scale: the recipe's number, or the largest that divides every layer; None: not in groups.

    Raises:
        RecipeError: the recipe's does not fit, or none does.
    """
    asked = quantization.group_size
    if not FORMATS[precision].is_grouped:
        if asked is not None:
            raise RecipeError(f"quantization.group_size {asked}: precision '{precision}' has no groups; leave it out")
        return None
    known = (NVFP4_GROUP,) if precision == "nvfp4" else AWQ_GROUPS
    if asked is not None and asked not in known:
        raise RecipeError(
            f"quantization.group_size {asked}: '{precision}' has {' and '.join(map(str, known))} in TensorRT-LLM"
        )
    widths = shape.input_widths(parallelism.tp)
    fitting = [size for size in known if not any(width % size for width in widths.values())]
    chosen = asked or next(iter(fitting), known[-1])
    if chosen in fitting:
        return chosen
    name, width = next((name, width) for name, width in widths.items() if width % chosen)
    advice = f"use {fitting[0]}" if fitting else "use another tp, or precision 'fp8'"
    raise RecipeError(
        f"quantization.group_size {chosen} does not divide {name}, which is {width} wide on each of "
        f"{parallelism.tp} GPUs; {advice}"
    )


def _check_parallelism(shape: Shape, parallelism: Parallelism) -> None:
    tp, pp = parallelism.tp, parallelism.pp
    if shape.num_layers % pp:
        raise RecipeError(
            f"parallelism.pp {pp} does not divide {shape.num_layers} layers; use {_divisors(shape.num_layers)}"
        )
    possible = tensor_parallel_sizes(shape.num_heads, shape.num_kv_heads, shape.intermediate_size)
    if tp not in possible:
        raise RecipeError(
            f"parallelism.tp {tp} does not divide {shape.num_heads} attention heads, {shape.num_kv_heads} key-value "
            f"heads and {shape.intermediate_size} hidden units of an MLP; use {', '.join(map(str, possible))}"
        )


def tensor_parallel_sizes(num_heads: int, num_kv_heads: int, intermediate_size: int) -> list[int]:
    """Every number of GPUs that the layers of such a decoder can be cut for."""

    def is_even(tp: int) -> bool:
        is_kv_even = num_kv_heads % tp == 0 or tp % num_kv_heads == 0  # fewer heads than GPUs: each is repeated
        return num_heads % tp == 0 and intermediate_size % tp == 0 and is_kv_even

    return [tp for tp in range(1, num_heads + 1) if is_even(tp)]


def _divisors(number: int) -> str:
    return ", ".join(str(one) for one in range(1, number + 1) if number % one == 0)
