"""The profile `cpp`: NVIDIA's C++ backend in the place of Trident's engine model, as models of the contract.

With `--model-config-name=cpp` Triton takes a model's `configs/cpp.pbtxt` instead of its `config.pbtxt`; preprocessing
and postprocessing have none and stay as they are. The C++ backend knows upstream's tensors only, so the ensemble maps
what exists and does not declare the rest: Triton itself then refuses by name what cannot be honoured.
"""

from __future__ import annotations

from trident.contract import ENGINE, ENSEMBLE, POSTPROCESSING, PREPROCESSING, Model, Step
from trident.upstream import read_upstream

PROFILE = "cpp"
CONFIG = f"configs/{PROFILE}.pbtxt"  # in the folders of the two models that have one

# Parameter of the C++ backend -> the option of a manifest that says the same to the LLM API.
OPTIONS = {
    "sink_token_length": "kv_cache_config.sink_token_length",
    "kv_cache_host_memory_bytes": "kv_cache_config.host_cache_size",
    "kv_cache_onboard_blocks": "kv_cache_config.onboard_blocks",
    "enable_kv_cache_reuse": "kv_cache_config.enable_block_reuse",
    "enable_chunked_context": "enable_chunked_prefill",
    "batch_scheduler_policy": "scheduler_config.capacity_scheduler_policy",
    "iter_stats_max_iterations": "iter_stats_max_iterations",
    "request_stats_max_iterations": "request_stats_max_iterations",
    "normalize_log_probs": "normalize_log_probs",
    "lora_cache_optimal_adapter_size": "peft_cache_config.optimal_adapter_size",
    "lora_cache_max_adapter_size": "peft_cache_config.max_adapter_size",
    "lora_cache_gpu_memory_fraction": "peft_cache_config.device_cache_percent",
    "lora_cache_host_memory_bytes": "peft_cache_config.host_cache_size",
}

# What postprocessing does with these reaches it through Trident's engine model only.
_THROUGH_OUR_ENGINE = frozenset({"SKIP_SPECIAL_TOKENS", "TOOL_PARSER", "REASONING_PARSER"})

UPSTREAM = read_upstream()[ENGINE.name]
CPP_ENGINE = UPSTREAM.model


def _steps() -> tuple[Step, ...]:
    inputs = {tensor.name for tensor in CPP_ENGINE.inputs}
    outputs = {tensor.name for tensor in CPP_ENGINE.outputs}
    ours = {step.model: step for step in ENSEMBLE.steps}
    engine, last, first = ours[ENGINE.name], ours[POSTPROCESSING.name], ours[PREPROCESSING.name]
    engine_inputs = {name: mapped for name, mapped in engine.input_map.items() if name in inputs}
    engine_outputs = {name: mapped for name, mapped in engine.output_map.items() if name in outputs}
    given, made = set(engine_inputs.values()), set(engine_outputs.values())
    return (
        Step(
            first.model,
            {name: mapped for name, mapped in first.input_map.items() if name not in _THROUGH_OUR_ENGINE},
            {name: mapped for name, mapped in first.output_map.items() if mapped in given},
        ),
        Step(engine.model, engine_inputs, engine_outputs),
        Step(
            last.model,
            {name: mapped for name, mapped in last.input_map.items() if mapped in made},
            {"OUTPUT": last.output_map["OUTPUT"]},
        ),
    )


def _ensemble() -> Model:
    steps = _steps()
    asked = {name for step in steps for name in step.input_map.values()}
    given = {name for step in steps for name in step.output_map.values()}
    return Model(
        ENSEMBLE.name,
        tuple(tensor for tensor in ENSEMBLE.inputs if tensor.name in asked),
        tuple(tensor for tensor in ENSEMBLE.outputs if tensor.name in given),
        steps=steps,
    )


CPP_ENSEMBLE = _ensemble()
NOT_SERVED = tuple(
    tensor.name for tensor in ENSEMBLE.inputs if tensor.name not in {kept.name for kept in CPP_ENSEMBLE.inputs}
)
"""Inputs of the ensemble that this profile does not declare."""
