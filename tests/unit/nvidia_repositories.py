"""Repositories shaped like NVIDIA's, written from the facts about its templates: placeholders filled, or left."""

from __future__ import annotations

import json
from pathlib import Path

from trident.upstream import UpstreamModel, read_upstream

FILLED = {
    "${triton_max_batch_size}": "64",
    "${decoupled_mode}": "true",
    "${max_queue_delay_microseconds}": "0",
    "${max_queue_size}": "512",
    "${triton_backend}": "tensorrtllm",
    "${batching_strategy}": "inflight_fused_batching",
    "${preprocessing_instance_count}": "1",
    "${postprocessing_instance_count}": "1",
}
# What three models of different makers were deployed with: the parameters that their operators filled in.
MODELS = {
    "gpt2": {
        "pretrained_config": {"architecture": "GPTForCausalLM", "dtype": "float16",
                              "mapping": {"tp_size": 1, "pp_size": 1}},
        "build_config": {"max_input_len": 924, "max_seq_len": 1024, "max_batch_size": 8, "max_beam_width": 4,
                         "max_num_tokens": 8192},
        "parameters": {"${max_beam_width}": "4", "${enable_kv_cache_reuse}": "False",
                       "${exclude_input_in_output}": "true", "${max_tokens_in_paged_kv_cache}": "40960"},
        "precision": "f16",
    },
    "Llama-3.1-8B-Instruct": {
        "pretrained_config": {"architecture": "LlamaForCausalLM", "dtype": "bfloat16",
                              "mapping": {"world_size": 2, "tp_size": 2, "pp_size": 1},
                              "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}},
        "build_config": {"max_input_len": 32768, "max_seq_len": 40960, "max_batch_size": 256, "max_beam_width": 1,
                         "max_num_tokens": 8192},
        "parameters": {"${kv_cache_free_gpu_mem_fraction}": "0.85", "${enable_chunked_context}": "true",
                       "${batch_scheduler_policy}": "max_utilization", "${lookahead_window_size}": "7",
                       "${max_attention_window_size}": "4096,4096"},
        "precision": "fp8",
    },
    "Qwen2.5-7B-Instruct": {
        "pretrained_config": {"architecture": "Qwen2ForCausalLM", "dtype": "float16",
                              "mapping": {"world_size": 4, "tp_size": 2, "pp_size": 2},
                              "quantization": {"quant_algo": "W4A16_AWQ", "kv_cache_quant_algo": "INT8"}},
        "build_config": {"max_input_len": 2048, "max_seq_len": 4096, "max_batch_size": 64, "max_beam_width": 1,
                         "max_num_tokens": 4096},
        "parameters": {"${kv_cache_host_memory_bytes}": "4294967296", "${lora_cache_max_adapter_size}": "32",
                       "${gpu_device_ids}": "0,1,2,3"},
        "precision": "int4_awq",
    },
}  # fmt: skip


def write_engine_repository(folder: Path, name: str, **filled: str) -> Path:
    """The repository of the model `name` of MODELS, with its engine and its tokenizer beside it.

    `filled`: placeholders by their bare names, over those of MODELS; a value of None leaves one as it is.
    """
    facts = MODELS[name]
    engine, tokenizer, repository = folder / "engine", folder / name, folder / "repository"
    engine.mkdir(parents=True)
    tokenizer.mkdir()
    (engine / "config.json").write_text(
        json.dumps({"version": "1.2.1", **{key: facts[key] for key in ("pretrained_config", "build_config")}})
    )
    values = FILLED | facts["parameters"] | {"${engine_dir}": str(engine), "${tokenizer_dir}": str(tokenizer)}
    for key, value in filled.items():
        if value is None:
            values.pop(f"${{{key}}}", None)
        else:
            values[f"${{{key}}}"] = value
    upstream = read_upstream()
    for model in ("preprocessing", "tensorrt_llm", "postprocessing", "ensemble"):
        (repository / model / "1").mkdir(parents=True)
        text = template(upstream[model])
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        (repository / model / "config.pbtxt").write_text(text)
    return repository


def write_llmapi_repository(folder: Path, yaml: str) -> Path:
    """NVIDIA's successor repository: one model, its settings in model.yaml."""
    version = folder / "repository" / "tensorrt_llm" / "1"
    version.mkdir(parents=True)
    (version / "model.yaml").write_text(yaml)
    (version.parent / "config.pbtxt").write_text(template(read_upstream()["llmapi"]))
    return folder / "repository"


def template(upstream: UpstreamModel) -> str:
    """A config as upstream lays it out: a block for each tensor and parameter, placeholders where it has them."""
    model = upstream.model
    is_engine = model.name == "tensorrt_llm"
    lines = [f'name: "{"tensorrt_llm" if model.name == "llmapi" else model.name}"']
    if model.name == "ensemble":
        lines.append('platform: "ensemble"')
    else:
        lines.append('backend: "${triton_backend}"' if is_engine else 'backend: "python"')
    if model.name != "llmapi":
        lines.append("max_batch_size: ${triton_max_batch_size}")
    if is_engine:
        lines += ["model_transaction_policy {", "  decoupled: ${decoupled_mode}", "}"]
    if is_engine or model.name == "preprocessing":
        lines += ["dynamic_batching {", "  preferred_batch_size: [ ${triton_max_batch_size} ]"]
        lines += ["  max_queue_delay_microseconds: ${max_queue_delay_microseconds}"]
        lines += ["  default_queue_policy: { max_queue_size: ${max_queue_size} }", "}"]
    for side, tensors in (("input", model.inputs), ("output", model.outputs)):
        blocks = []
        for tensor in tensors:
            block = [
                f'    name: "{tensor.name}"',
                f"    data_type: TYPE_{tensor.dtype}",
                f"    dims: {list(tensor.dims)}",
            ]
            block += ["    optional: true"] if tensor.optional and side == "input" else []
            block += ["    reshape: { shape: [ ] }"] if side == "input" and tensor.name in upstream.scalars else []
            blocks.append("\n".join(["  {", *block, "  }"]))
        lines += [f"{side} [", ",\n".join(blocks), "]"]
    lines += ["instance_group [", "  {", "    count: 1", "    kind: KIND_CPU", "  }", "]"]
    for key, parameter in upstream.parameters.items():
        value = f'  value: {{\n    string_value: "{parameter.template}"\n  }}'
        lines += ["parameters: {", f'  key: "{key}"', value, "}"]
    return "\n".join(lines) + "\n"
