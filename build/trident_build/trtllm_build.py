"""The command line of `trtllm-build`, derived from a recipe and checked before anything runs. Runs nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from trident.errors import RecipeError
from trident_build.recipe import Recipe
from trident_build.trtllm_flags import FlagValue, check_flag, check_own_flags, command_line
from trident_build.trtllm_rules import FP8_ATTENTION, Request, check_combination
from trident_build.trtllm_versions import EXECUTABLE, IMAGE

# What prompts are cached by and long ones cut by, when an engine serves; names of NVIDIA's Triton model.
KV_CACHE_REUSE, CHUNKED_CONTEXT = "enable_kv_cache_reuse", "enable_chunked_context"
LORA_MODULES = "attn_q attn_k attn_v attn_dense mlp_h_to_4h mlp_4h_to_h mlp_gate"
_MOUNT = "/build"


def command(recipe: Recipe, checkpoint: Path, output: Path) -> list[str]:
    """The command that compiles `checkpoint` into the engine directory `output`.

    Raises:
        RecipeError: a flag of [trtllm_build] that is wrong, or a combination that cannot work.
    """
    flags = build_flags(recipe)
    return [EXECUTABLE, "--checkpoint_dir", str(checkpoint), "--output_dir", str(output), *command_line(flags)]


def build_flags(recipe: Recipe) -> dict[str, FlagValue]:
    """Every flag but the two folders: from the recipe's parts, then from its [trtllm_build].

    Raises:
        RecipeError: see `command`.
    """
    limits, parallelism = recipe.limits, recipe.parallelism
    derived: dict[str, FlagValue] = {
        "max_batch_size": limits.max_num_seqs,
        "max_input_len": limits.max_input_tokens,
        "max_seq_len": limits.max_seq_tokens,
        "max_num_tokens": limits.max_num_batched_tokens,
        "max_beam_width": 1,
        "kv_cache_type": "paged",
        "use_paged_context_fmha": "enable",
        "use_fp8_context_fmha": "enable" if _has_fp8_attention(recipe) else "disable",
        "remove_input_padding": "enable",
        "gemm_plugin": "nvfp4" if recipe.precision == "nvfp4" else "auto",
        "workers": parallelism.world_size,
        **_lora_flags(recipe),
        **_speculation_flags(recipe),
    }
    flags = {name: check_flag(name, value) for name, value in derived.items()} | check_own_flags(recipe.trtllm_build)
    check_combination(
        Request(
            flags,
            recipe.precision,
            recipe.quantization.kv_cache,
            parallelism.tp,
            parallelism.pp,
            has_kv_cache_reuse=_option(recipe, KV_CACHE_REUSE, default=True),
            has_chunked_context=_option(recipe, CHUNKED_CONTEXT, default=True),
        )
    )
    return flags


def _has_fp8_attention(recipe: Recipe) -> bool:
    return recipe.quantization.kv_cache == "fp8" and recipe.precision in FP8_ATTENTION


def _lora_flags(recipe: Recipe) -> dict[str, FlagValue]:
    if recipe.lora is None:
        return {}
    return {"lora_plugin": "auto", "lora_target_modules": LORA_MODULES, "max_lora_rank": recipe.lora.max_rank}


def _speculation_flags(recipe: Recipe) -> dict[str, FlagValue]:
    asked = recipe.speculation
    if asked is None:
        return {}
    # Of both kinds: whoever drives the engine proposes the tokens, by a smaller model or from the prompt.
    return {"speculative_decoding_mode": "draft_tokens_external", "max_draft_len": asked.num_draft_tokens}


def _option(recipe: Recipe, name: str, *, default: bool) -> bool:
    value = recipe.options.get(name, default)
    if not isinstance(value, bool):
        raise RecipeError(f"options.{name} must be true or false, got {value!r}")
    return value


def shell_line(arguments: Sequence[str]) -> str:
    """The command as a shell takes it."""
    return shlex.join(arguments)


def docker_line(recipe: Recipe, folder: Path, checkpoint: Path, output: Path) -> str:
    """The same inside the pinned image, `folder` mounted; `checkpoint` and `output` are relative to it.

    Raises:
        RecipeError: see `command`.
    """
    outside = ["docker", "run", "--rm", "--gpus", "all", "-v", f"{folder.absolute()}:{_MOUNT}", "-w", _MOUNT, IMAGE]
    return shell_line([*outside, *command(recipe, checkpoint, output)])
