"""What becomes of every parameter and tensor of NVIDIA's repositories in Trident, as one table.

`trident migrate` reports from it and docs/migrating.md is made from it; a test compares it with upstream.json.
It is long because it is one table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Goes(str, Enum):
    """Where something goes."""

    RECIPE = "recipe"  # the engine's recipe, and from there its manifest
    SETTING = "setting"  # TRIDENT_*
    ALWAYS = "always"  # Trident does so, whatever the value
    CPP = "cpp"  # the profile of the C++ backend only; `trident repository render` writes it
    NONE = "none"  # no equivalent


@dataclass(frozen=True)
class Fate:
    """Of one parameter."""

    goes: Goes
    where: str  # key of the recipe, or what to do instead


def _recipe(where: str) -> Fate:
    return Fate(Goes.RECIPE, where)


def _always(where: str) -> Fate:
    return Fate(Goes.ALWAYS, where)


def _cpp(where: str = "") -> Fate:
    return Fate(Goes.CPP, where or "only with --backend cpp")


def _none(where: str) -> Fate:
    return Fate(Goes.NONE, where)


_SPECULATION = _none("an engine speculates as its recipe says ([speculation]; kind tensorrt_llm_pytorch)")
_ENCODER = _none("models with an encoder are not served")
_IMAGES = _none("images are not served")

PARAMETERS: dict[str, dict[str, Fate]] = {
    "tensorrt_llm": {
        "max_beam_width": _recipe("trtllm_build.max_beam_width"),
        "FORCE_CPU_ONLY_INPUT_TENSORS": _cpp(),
        "gpt_model_type": _always("in-flight batching; static batching (V1) is gone"),
        "gpt_model_path": Fate(Goes.SETTING, "TRIDENT_ENGINE names the engine, whose directory has its config.json"),
        "encoder_model_path": _ENCODER,
        "max_tokens_in_paged_kv_cache": _recipe("limits.kv_cache_tokens"),
        "max_attention_window_size": _none("attention reaches over the whole sequence"),
        "sink_token_length": _recipe("options.kv_cache_config.sink_token_length"),
        "batch_scheduler_policy": _recipe("options.scheduler_config.capacity_scheduler_policy"),
        "kv_cache_free_gpu_mem_fraction": _recipe("limits.kv_cache_fraction"),
        "cross_kv_cache_fraction": _ENCODER,
        "kv_cache_host_memory_bytes": _recipe("options.kv_cache_config.host_cache_size"),
        "kv_cache_onboard_blocks": _recipe("options.kv_cache_config.onboard_blocks"),
        "enable_trt_overlap": _cpp("deprecated and ignored upstream"),
        "exclude_input_in_output": _none("clients say it in every request; the default is upstream's, false"),
        "cancellation_check_period_ms": _always("a cancel is heard within a step, without polling"),
        "stats_check_period_ms": _always("metrics follow every step"),
        "iter_stats_max_iterations": _recipe("options.iter_stats_max_iterations"),
        "request_stats_max_iterations": _recipe("options.request_stats_max_iterations"),
        "enable_kv_cache_reuse": _recipe("options.kv_cache_config.enable_block_reuse"),
        "normalize_log_probs": _recipe("options.normalize_log_probs"),
        "enable_chunked_context": _recipe("options.enable_chunked_prefill"),
        "gpu_device_ids": _none("set CUDA_VISIBLE_DEVICES; one server for each engine"),
        "participant_ids": _cpp("ranks come from the engine's mapping"),
        "num_nodes": _cpp("docker/kubernetes/leader-worker-set.yaml"),
        "lora_cache_optimal_adapter_size": _recipe("options.peft_cache_config.optimal_adapter_size"),
        "lora_cache_max_adapter_size": _recipe("options.peft_cache_config.max_adapter_size"),
        "lora_cache_gpu_memory_fraction": _recipe("options.peft_cache_config.device_cache_percent"),
        "lora_cache_host_memory_bytes": _recipe("options.peft_cache_config.host_cache_size"),
        "lora_prefetch_dir": _none("name the adapters in the recipe ([lora]); requests name one with lora_name"),
        "decoding_mode": _always("as the request says: sampling, or beam search with beam_width"),
        "executor_worker_path": _cpp(),
        "lookahead_window_size": _SPECULATION,
        "lookahead_ngram_size": _SPECULATION,
        "lookahead_verification_set_size": _SPECULATION,
        "medusa_choices": _SPECULATION,
        "eagle_choices": _SPECULATION,
        "gpu_weights_percent": _cpp("weights are never streamed by Trident's own engine model"),
        "enable_context_fmha_fp32_acc": _cpp(),
        "multi_block_mode": _cpp("on, as by default"),
        "cuda_graph_mode": _cpp(),
        "cuda_graph_cache_size": _cpp(),
        "speculative_decoding_fast_logits": _SPECULATION,
        "tokenizer_dir": _recipe("source.path: the checkpoint, whose tokenizer the engine directory then holds"),
        "guided_decoding_backend": _always("guides are served, by xgrammar"),
        "xgrammar_tokenizer_info_path": _cpp("`trident repository render` writes the file"),
    },
    "preprocessing": {
        "tokenizer_dir": _recipe("source.path"),
        "add_special_tokens": _none(
            "text gets them as the tokenizer's own template says; a rendered chat gets none more"
        ),
        "multimodal_model_path": _IMAGES,
        "gpt_model_path": _IMAGES,
        "max_num_images": _IMAGES,
        "hf_model_path": _IMAGES,
    },
    "postprocessing": {
        "tokenizer_dir": _recipe("source.path"),
        "skip_special_tokens": _none(
            "clients say it in the request: skip_special_tokens; the default is upstream's, true"
        ),
    },
}

_DRAFT = "drafts from outside are not taken"
_EACH_REQUEST = "not settable by a request"
_VISION = "images are not served"
_WITH_ENCODER = "models with an encoder are not served"
_DISAGGREGATED = "disaggregated serving is not served"

TENSORS_LEFT_OUT: dict[str, dict[str, str]] = {
    "preprocessing": dict.fromkeys(
        (
            "IMAGE_BYTES", "IMAGE_URL", "IMAGES", "VIDEO_BYTES", "PIXEL_VALUES", "ASPECT_RATIO_IDS",
            "ASPECT_RATIO_MASK", "CROSS_ATTENTION_MASK", "IMAGE_SIZES", "IS_VIDEO_INPUT", "ATTENTION_MASK",
            "IMAGE_GRID_THW", "VISION_INPUT_ID",
        ),
        _VISION,
    ),
    "tensorrt_llm": {
        "encoder_input_features": _WITH_ENCODER,
        "encoder_output_lengths": _WITH_ENCODER,
        "draft_input_ids": _DRAFT,
        "draft_logits": _DRAFT,
        "draft_acceptance_threshold": _DRAFT,
        "runtime_top_p_min": _EACH_REQUEST,
        "runtime_top_p_decay": _EACH_REQUEST,
        "runtime_top_p_reset_ids": _EACH_REQUEST,
        "early_stopping": _EACH_REQUEST,
        "beam_search_diversity_rate": _EACH_REQUEST,
        "cross_attention_mask": _VISION,
        "mrope_rotary_cos_sin": _VISION,
        "mrope_position_deltas": _VISION,
        "skip_cross_attn_blocks": _VISION,
        "context_phase_params": _DISAGGREGATED,
        **dict.fromkeys(
            (
                "retention_token_range_starts", "retention_token_range_ends", "retention_token_range_priorities",
                "retention_token_range_durations_ms", "retention_decode_priority", "retention_decode_duration_ms",
            ),
            "the prefix cache keeps what was used last; cache_salt tells tenants apart",
        ),
        **dict.fromkeys(
            ("lookahead_window_size", "lookahead_ngram_size", "lookahead_verification_set_size"),
            "speculation is the engine's, not a request's",
        ),
    },
    "postprocessing": {},
    "ensemble": {},
}  # fmt: skip


@dataclass(frozen=True)
class Renamed:
    """A tensor of `llmapi` in Trident's ensemble."""

    to: str | None  # None: no equivalent
    note: str = ""


LLMAPI: dict[str, dict[str, Renamed]] = {
    "inputs": {
        "text_input": Renamed("text_input", "[1, 1] for [1]: the ensemble has a batch dimension"),
        "image_url": Renamed(None, _VISION),
        "streaming": Renamed("stream"),
        "sampling_param_best_of": Renamed("num_return_sequences", "all of them are answered, not the best"),
        "sampling_param_temperature": Renamed("temperature"),
        "sampling_param_top_k": Renamed("top_k"),
        "sampling_param_top_p": Renamed("top_p"),
        "sampling_param_frequency_penalty": Renamed("frequency_penalty"),
        "sampling_param_presence_penalty": Renamed("presence_penalty"),
        "sampling_param_max_tokens": Renamed("max_tokens", "required"),
        "sampling_param_stop": Renamed("stop_words"),
        "sampling_param_seed": Renamed("seed"),
        "sampling_param_exclude_input_from_output": Renamed("exclude_input_in_output"),
        "sampling_param_return_perf_metrics": Renamed("return_perf_metrics"),
        "return_finish_reason": Renamed(None, "finish_reason always comes, on the last response"),
        "return_stop_reason": Renamed(None, "finish_reason says stop; which word it was is not said"),
        "return_cumulative_logprob": Renamed("return_log_probs"),
        "stop": Renamed("stop", "of the model tensorrt_llm, with the id of the request"),
        "lora_id": Renamed(None, "adapters have names; the recipe lists them"),
        "lora_name": Renamed("lora_name", "of the recipe's [lora]"),
        "lora_path": Renamed(None, "adapters are in the engine directory, not in requests"),
        "lora_ckpt_source": Renamed(None, "adapters are PEFT checkpoints"),
    },
    "outputs": {
        "text_output": Renamed("text_output"),
        "finish_reason": Renamed("finish_reason"),
        "stop_reason": Renamed(None, "see finish_reason"),
        "cumulative_logprob": Renamed("cum_log_probs"),
        "kv_cache_reused_block": Renamed("kv_cache_reused_blocks", "num_cached_tokens says it in tokens"),
        "kv_cache_missed_block": Renamed("kv_cache_alloc_new_blocks", "blocks that had to be computed"),
        "kv_cache_alloc_new_blocks": Renamed("kv_cache_alloc_new_blocks"),
        "kv_cache_alloc_total_blocks": Renamed("kv_cache_alloc_total_blocks"),
        "kv_cache_hit_rate": Renamed(None, "num_cached_tokens over num_input_tokens"),
        "arrival_time_ns": Renamed("arrival_time_ns"),
        "first_scheduled_time_ns": Renamed("first_scheduled_time_ns"),
        "first_token_time_ns": Renamed("first_token_time_ns"),
        "last_token_time_ns": Renamed("last_token_time_ns"),
        "acceptance_rate": Renamed("acceptance_rate"),
        "total_accepted_draft_tokens": Renamed("total_accepted_draft_tokens"),
        "total_draft_tokens": Renamed("total_draft_tokens"),
    },
}

# Arguments of `llmapi`'s model.yaml that are no options of a recipe: the engine's loader sets or refuses them.
LLMAPI_ARGUMENTS_LEFT_OUT: dict[str, str] = {
    "tokenizer": "the engine directory has the checkpoint's own",
    "trust_remote_code": "code of a checkpoint's author never runs here",
    "num_postprocess_workers": "text is made by Trident's own postprocessing",
    "guided_decoding_backend": "guides are served, by xgrammar",
    "enable_iter_perf_stats": "it is always on",
    "max_beam_width": "this kind has no beam search",
    "context_parallel_size": "context parallelism is not served, tp and pp are",
    "speculative_config": "say it in the recipe ([speculation])",
    "enable_lora": "name the adapters in the recipe ([lora])",
    "lora_config": "name the adapters in the recipe ([lora])",
}
