"""The command of trtllm-build: derived from the recipe, and refused before a GPU-hour is spent."""

from pathlib import Path

import pytest

from trident.errors import RecipeError
from trident_build.trtllm_build import build_flags, command, docker_line
from trident_build.trtllm_flags import known_flags

from .tensorrt_recipes import recipe


def test_every_limit_of_the_recipe_is_a_flag():
    """Nothing is left to trtllm-build's defaults that the recipe says."""
    flags = build_flags(recipe())
    assert flags["max_batch_size"] == 16
    assert flags["max_input_len"] == 1024
    assert flags["max_seq_len"] == 1536
    assert flags["max_num_tokens"] == 2048
    assert flags["kv_cache_type"] == "paged"
    assert flags["use_paged_context_fmha"] == "enable"
    assert flags["workers"] == 2


@pytest.mark.parametrize(
    ("precision", "kv_cache", "expected"),
    [("fp8", "fp8", "enable"), ("fp8", None, "disable"), ("int4_awq", "fp8", "disable"), ("nvfp4", "fp8", "enable")],
)
def test_fp8_attention_is_on_where_precision_and_kv_cache_allow_it(precision, kv_cache, expected):
    """It is off elsewhere, though trtllm-build's default is on."""
    flags = build_flags(recipe(precision=precision, quantization={"kv_cache": kv_cache}))
    assert flags["use_fp8_context_fmha"] == expected


def test_the_command_names_both_folders_and_only_known_flags():
    """Every word with two dashes is in the data of trtllm-build's flags."""
    line = command(recipe(trtllm_build={"strip_plan": True, "reduce_fusion": "enable"}), Path("ckpt"), Path("out"))
    assert line[:5] == ["trtllm-build", "--checkpoint_dir", "ckpt", "--output_dir", "out"]
    assert {word[2:] for word in line if word.startswith("--")} <= set(known_flags())
    assert "--strip_plan" in line
    assert line[line.index("--reduce_fusion") + 1] == "enable"


def test_a_flag_without_a_value_is_left_out_when_false():
    """`--strip_plan False` would be a wrong argument."""
    assert "--strip_plan" not in command(recipe(trtllm_build={"strip_plan": False}), Path("c"), Path("o"))


def test_adapters_turn_the_lora_plugin_on():
    """With the modules that adapters change, and the recipe's rank."""
    line = command(recipe(lora={"adapters": {"a": "adapter"}, "max_rank": 16}), Path("c"), Path("o"))
    modules = line[line.index("--lora_target_modules") + 1 : line.index("--max_lora_rank")]
    assert "attn_q" in modules
    assert "mlp_gate" in modules
    assert line[line.index("--max_lora_rank") + 1] == "16"
    assert line[line.index("--lora_plugin") + 1] == "auto"


def test_speculation_sets_the_mode_and_the_draft_length():
    """A draft of four tokens is a draft length of four."""
    flags = build_flags(recipe(speculation={"kind": "draft_model", "engine": "small", "num_draft_tokens": 4}))
    assert flags["speculative_decoding_mode"] == "draft_tokens_external"
    assert flags["max_draft_len"] == 4


def test_the_docker_command_mounts_the_folder_into_the_pinned_image(tmp_path):
    """It can be pasted into a shell on a machine with Docker and GPUs."""
    line = docker_line(recipe(), tmp_path, Path("checkpoint"), Path("engine"))
    assert line.startswith(f"docker run --rm --gpus all -v {tmp_path}:/build -w /build nvcr.io/nvidia/tritonserver:")
    assert "trtllm-build --checkpoint_dir checkpoint --output_dir engine" in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"gemm_plugn": "auto"}, "no flag --gemm_plugn; did you mean 'gemm_plugin'?"),
        ({"gemm_plugin": "atuo"}, "got 'atuo'; did you mean 'auto'?"),
        ({"context_fmha": "on"}, "one of enable, disable"),
        ({"tokens_per_block": "32"}, "must be a whole number"),
        ({"tokens_per_block": True}, "must be a whole number"),
        ({"strip_plan": "yes"}, "must be true or false"),
        ({"max_batch_size": 4}, "say limits.max_num_seqs"),
        ({"tp_size": 2}, "say parallelism.tp"),
        ({"build_config": "x.json"}, "override the recipe's limits"),
        ({"auto_parallel": 2}, "up to version 0.21 only"),
    ],
)
def test_a_wrong_flag_is_refused_with_what_to_say_instead(flags, message):
    """Unknown, of a wrong value or type, or the recipe's own business."""
    with pytest.raises(RecipeError, match=message.replace("?", r"\?").replace("(", r"\(")):
        build_flags(recipe(trtllm_build=flags))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trtllm_build": {"use_paged_context_fmha": "disable"}}, "KV cache reuse needs use_paged_context_fmha"),
        (
            {"trtllm_build": {"use_paged_context_fmha": False}, "options": {"enable_kv_cache_reuse": False}},
            "chunked context needs use_paged_context_fmha",
        ),
        ({"trtllm_build": {"context_fmha": "disable"}}, "needs context_fmha enable"),
        (
            {"trtllm_build": {"use_fp8_context_fmha": "enable"}, "quantization": {"kv_cache": None}},
            "needs an FP8 KV cache",
        ),
        (
            {"trtllm_build": {"use_fp8_context_fmha": "enable"}, "precision": "int4_awq"},
            "not for 'int4_awq'",
        ),
        ({"trtllm_build": {"kv_cache_type": "continuous"}}, "in-flight batching needs paged"),
        ({"trtllm_build": {"remove_input_padding": "disable"}}, "in-flight batching needs it"),
        ({"trtllm_build": {"tokens_per_block": 48}}, "48 is no power of two"),
        ({"trtllm_build": {"workers": 3}}, "workers 3 must be from 1 to the 2 ranks"),
        ({"trtllm_build": {"gemm_plugin": "nvfp4"}}, "gemm_plugin nvfp4 is for precision 'nvfp4'"),
        ({"trtllm_build": {"max_beam_width": 200}}, "is below max_batch_size x max_beam_width, 3200"),
        ({"trtllm_build": {"reduce_fusion": "enable"}, "parallelism": {"tp": 1}}, "parallelism.tp above 1"),
        ({"trtllm_build": {"user_buffer": "enable"}}, "user_buffer needs reduce_fusion"),
        ({"trtllm_build": {"opt_num_tokens": 64, "multiple_profiles": "enable"}}, "does not go with multiple_profiles"),
        ({"trtllm_build": {"dora_plugin": "enable"}}, "dora_plugin needs lora_plugin"),
        ({"trtllm_build": {"nccl_plugin": "disable"}}, "several GPUs need the nccl_plugin"),
        ({"trtllm_build": {"fast_build": True}, "precision": "int8_sq"}, "fast_build does not go with"),
        (
            {"limits": {"max_num_batched_tokens": 512}, "options": {"enable_chunked_context": False}},
            "max_num_tokens 512 is below max_input_len 1024",
        ),
        ({"options": {"enable_kv_cache_reuse": 1}}, "options.enable_kv_cache_reuse must be true or false"),
    ],
)
def test_an_impossible_combination_is_refused(changes, message):
    """Each of them would fail after the weights were loaded, or when the first prompt comes."""
    with pytest.raises(RecipeError, match=message):
        build_flags(recipe(**changes))
