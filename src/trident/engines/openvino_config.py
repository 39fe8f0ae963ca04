"""Manifest and requests in the words of OpenVINO GenAI: the pipeline, and the generation config of a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as ov_genai

from trident.engines.base import EngineRequest
from trident.engines.openvino_limits import check_speculation, num_kv_blocks
from trident.engines.openvino_loras import Lora
from trident.errors import ManifestError
from trident.manifest import DraftModel, Manifest, PromptLookup, Speculation

DEVICE = "CPU"
_NO_ID = (1 << 31) - 1  # no vocabulary has it
_MIN_TEMPERATURE = 1e-6  # as good as greedy; OpenVINO divides by it in float32, and 1e-40 gives random tokens


def load_pipeline(directory: Path, manifest: Manifest, lora: Lora | None = None) -> Any:
    """An openvino_genai.ContinuousBatchingPipeline with the manifest's limits and options.

    Args:
        directory: of the engine.
        manifest: its own.
        lora: built into the model, for every request.

    Raises:
        ManifestError: OpenVINO refuses the files or an option, or the limits do not allow speculation.
    """
    limits = manifest.limits
    config = ov_genai.SchedulerConfig()
    config.max_num_seqs = limits.max_num_seqs
    config.max_num_batched_tokens = limits.max_num_batched_tokens
    config.num_kv_blocks = num_kv_blocks(limits.kv_cache_tokens)
    config.dynamic_split_fuse = True  # chunked prefill: prompts and decodes share a step
    config.enable_prefix_caching = True
    if manifest.speculation is not None:
        check_speculation(manifest.name, limits, manifest.speculation.num_draft_tokens)
    properties: dict[str, Any] = dict(manifest.options)
    try:
        if isinstance(manifest.speculation, PromptLookup):
            properties["prompt_lookup"] = True
        elif isinstance(manifest.speculation, DraftModel):
            draft = directory / manifest.speculation.path
            properties["draft_model"] = ov_genai.draft_model(str(draft), DEVICE, **manifest.options)
        if lora is not None:
            # the only mode that add_request and step apply; one of the others would need `generate`
            mode = ov_genai.AdapterConfig.Mode.MODE_STATIC
            properties["adapters"] = ov_genai.AdapterConfig(ov_genai.Adapter(str(lora.path)), lora.scale, mode)
        return ov_genai.ContinuousBatchingPipeline(str(directory), config, DEVICE, properties)
    except RuntimeError as exc:
        raise ManifestError(f"OpenVINO cannot load engine {manifest.name}: {exc}") from exc


def generation_config(request: EngineRequest, speculation: Speculation | None = None) -> Any:
    """The openvino_genai.GenerationConfig of a request that `openvino_limits.check_request` has passed.

    Raises:
        TridentError: the guide is refused.
    """
    config = ov_genai.GenerationConfig()
    config.max_new_tokens = request.max_tokens
    config.min_new_tokens = request.min_tokens
    config.ignore_eos = not request.eos_ids
    if request.eos_ids:
        config.eos_token_id = request.eos_ids[0]
        config.stop_token_ids = set(request.eos_ids)
    config.logprobs = int(request.wants_log_probs)
    if request.beam_width > 1:
        _set_beams(config, request)
    else:
        _set_sampling(config, request)
    if request.guide is not None:
        from trident.engines.openvino_guides import structured_output  # noqa: PLC0415 - few requests need it

        config.structured_output_config = structured_output(request.guide)
    if speculation is not None:
        config.num_assistant_tokens = speculation.num_draft_tokens
        if isinstance(speculation, PromptLookup):
            config.max_ngram_size = speculation.max_ngram_tokens
    return config


def input_tensor(request: EngineRequest) -> Any:
    """The prompt as openvino.Tensor int64[1, prompt_tokens]."""
    return ov.Tensor(request.input_ids.astype(np.int64)[np.newaxis])


def _set_sampling(config: Any, request: EngineRequest) -> None:
    sampling = request.sampling
    config.repetition_penalty = sampling.repetition_penalty
    config.presence_penalty = sampling.presence_penalty
    config.frequency_penalty = sampling.frequency_penalty
    config.do_sample = not sampling.is_greedy
    if config.do_sample:
        config.temperature = max(sampling.temperature, _MIN_TEMPERATURE)
        config.top_p = sampling.top_p
        config.rng_seed = sampling.seed
        if sampling.top_k:
            config.top_k = sampling.top_k


def _set_beams(config: Any, request: EngineRequest) -> None:
    config.num_beams = config.num_return_sequences = request.beam_width
    config.length_penalty = request.length_penalty
    config.logprobs = 1  # their sum is the beam's; its score is divided by a power of its length
    if not request.eos_ids:  # a beam search does not heed ignore_eos
        config.eos_token_id = _NO_ID
        config.stop_token_ids = {_NO_ID}
