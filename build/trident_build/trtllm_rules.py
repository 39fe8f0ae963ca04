"""Combinations of trtllm-build's flags that cannot work, refused before anything runs: a GPU-hour is dear.

Sources: TensorRT-LLM 1.2's build.py, builder.py and plugin.py, and its documentation of the flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trident.errors import RecipeError
from trident_build.trtllm_flags import FlagValue, known_flags


@dataclass(frozen=True)
class Request:
    """What one engine is to be."""

    flags: Mapping[str, FlagValue]  # those that are given
    precision: str
    kv_cache: str | None  # "fp8", "int8"; None: as the activations
    tp: int
    pp: int
    has_kv_cache_reuse: bool  # of the serving options
    has_chunked_context: bool

    def value(self, name: str) -> FlagValue | None:
        """As given, or trtllm-build's default."""
        return self.flags.get(name, known_flags()[name].default)

    def number(self, name: str) -> int:
        """A flag that is a whole number; 0 where it has no value."""
        return int(self.value(name) or 0)

    def is_on(self, name: str) -> bool:
        """A switch or a plugin that is neither off nor unset."""
        return self.value(name) not in {None, False, "disable"}


FP8_ATTENTION = frozenset({"fp8", "w4a8_awq", "nvfp4"})  # precisions whose attention may compute in FP8
_FP8_PLUGINS = ("gemm_swiglu_plugin", "low_latency_gemm_plugin", "low_latency_gemm_swiglu_plugin")


def check_combination(request: Request) -> None:
    """Refuse the first combination that cannot work.

    Raises:
        RecipeError: names the flags and what to say instead.
    """
    for problems in (_shapes, _attention, _batching, _plugins, _parallelism, _modes):
        for problem in problems(request):
            raise RecipeError(f"trtllm-build: {problem}")


def _shapes(r: Request) -> Iterator[str]:
    prompt, step = r.number("max_input_len"), r.number("max_num_tokens")
    sequences = r.number("max_batch_size") * r.number("max_beam_width")
    if r.number("max_seq_len") <= prompt:
        yield f"max_seq_len {r.number('max_seq_len')} leaves no room after max_input_len {prompt}"
    if step < sequences:
        yield f"max_num_tokens {step} is below max_batch_size x max_beam_width, {sequences}: a token each per step"
    if step < prompt and not r.has_chunked_context:
        yield f"max_num_tokens {step} is below max_input_len {prompt}: such prompts need options.enable_chunked_context"
    if r.number("opt_num_tokens") > step:
        yield f"opt_num_tokens {r.number('opt_num_tokens')} is above max_num_tokens {step}"
    if "opt_num_tokens" in r.flags and r.is_on("multiple_profiles"):
        yield "opt_num_tokens does not go with multiple_profiles"
    if r.number("tokens_per_block") < 1 or bin(r.number("tokens_per_block")).count("1") != 1:
        yield f"tokens_per_block {r.number('tokens_per_block')} is no power of two"


def _attention(r: Request) -> Iterator[str]:
    if not r.is_on("use_paged_context_fmha"):
        if r.has_kv_cache_reuse:
            yield "KV cache reuse needs use_paged_context_fmha enable; or say options.enable_kv_cache_reuse = false"
        if r.has_chunked_context:
            yield "chunked context needs use_paged_context_fmha enable; or say options.enable_chunked_context = false"
    if r.is_on("use_paged_context_fmha") and not r.is_on("context_fmha"):
        yield "use_paged_context_fmha needs context_fmha enable"
    if r.flags.get("use_fp8_context_fmha") == "enable":
        if r.kv_cache != "fp8":
            yield "use_fp8_context_fmha needs an FP8 KV cache: say quantization.kv_cache = 'fp8'"
        if r.precision not in FP8_ATTENTION:
            yield f"use_fp8_context_fmha is for {', '.join(sorted(FP8_ATTENTION))}, not for '{r.precision}'"


def _batching(r: Request) -> Iterator[str]:
    if r.value("kv_cache_type") not in {None, "paged"}:
        yield f"kv_cache_type {r.value('kv_cache_type')}: in-flight batching needs paged"
    for name in ("remove_input_padding", "gpt_attention_plugin"):
        if not r.is_on(name):
            yield f"{name} disable: in-flight batching needs it"
    if r.is_on("streamingllm"):
        yield "streamingllm is not supported by TensorRT-LLM 1.2"


def _plugins(r: Request) -> Iterator[str]:
    gemm = r.value("gemm_plugin")
    if gemm in {"fp8", "nvfp4"} and r.precision != gemm:
        yield f"gemm_plugin {gemm} is for precision '{gemm}', not for '{r.precision}'; use auto"
    for name in _FP8_PLUGINS:
        if r.is_on(name) and r.precision != "fp8":
            yield f"{name} is for precision 'fp8', not for '{r.precision}'"
    if r.is_on("fuse_fp4_quant") and r.precision != "nvfp4":
        yield f"fuse_fp4_quant is for precision 'nvfp4', not for '{r.precision}'"
    for name in ("lora_target_modules", "dora_plugin"):
        if r.is_on(name) and not r.is_on("lora_plugin"):
            yield f"{name} needs lora_plugin"


def _parallelism(r: Request) -> Iterator[str]:
    ranks = r.tp * r.pp
    if not 1 <= r.number("workers") <= ranks:
        yield f"workers {r.number('workers')} must be from 1 to the {ranks} ranks of the engine"
    if ranks > 1 and not r.is_on("nccl_plugin"):
        yield "several GPUs need the nccl_plugin"
    if r.is_on("reduce_fusion") and r.tp == 1:
        yield "reduce_fusion is for parallelism.tp above 1"
    if r.is_on("user_buffer") and (not r.is_on("reduce_fusion") or r.precision != "fp8"):
        yield "user_buffer needs reduce_fusion, and precision 'fp8'"
    if r.is_on("pp_reduce_scatter") and r.pp == 1:
        yield "pp_reduce_scatter is for parallelism.pp above 1"


def _modes(r: Request) -> Iterator[str]:
    if r.is_on("weight_streaming") and r.is_on("gemm_plugin"):
        yield "weight_streaming needs gemm_plugin disable"
    if r.is_on("fast_build") and r.precision.startswith("int"):
        yield f"fast_build does not go with precision '{r.precision}'"
    if r.number("max_draft_len") > 0:
        if r.is_on("gather_context_logits") or r.is_on("gather_all_token_logits"):
            yield "gather_context_logits does not go with speculation"
        if r.number("max_beam_width") > 1:
            yield "speculation does not go with max_beam_width above 1"
