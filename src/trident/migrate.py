"""From a repository of NVIDIA's to what Trident needs: a recipe, settings, and a report of what has no equivalent.

A pure function of what `migrate_source` read. It knows the recipe's keys and writes none that it has no value for; what
it had to assume is said in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trident.engines.tensorrt_llm_arguments import SECTIONS
from trident.errors import RepositoryError
from trident.manifest import EngineKind
from trident.migrate_source import FoundRepository
from trident.migrate_tables import LLMAPI_ARGUMENTS_LEFT_OUT
from trident.repository_cpp import OPTIONS

# TensorRT-LLM's name of a quantization -> a recipe's precision.
PRECISIONS = {
    "FP8": "fp8",
    "W4A16_AWQ": "int4_awq",
    "W4A8_AWQ": "w4a8_awq",
    "W8A8_SQ_PER_CHANNEL": "int8_sq",
    "NVFP4": "nvfp4",
    "W8A16": "int8_wo",
    "W4A16": "int4_wo",
}
_DTYPES = {"bfloat16": "bf16", "float16": "f16", "auto": "bf16"}
_KV_CACHES = {"FP8": "fp8", "INT8": "int8"}
_DEFAULT_QUEUE = 1024
_DEFAULT_FRACTION = 0.9  # TensorRT-LLM's
_SWITCHES = {"kv_cache_onboard_blocks", "enable_kv_cache_reuse", "enable_chunked_context", "normalize_log_probs"}


@dataclass
class Migration:
    """What is written."""

    recipe: dict[str, Any]  # as the TOML of a recipe
    settings: dict[str, str]  # TRIDENT_* by name
    assumed: list[str] = field(default_factory=list)  # what the repository does not say, a line each


def migrate(found: FoundRepository) -> Migration:
    """The recipe and the settings of a repository.

    Raises:
        RepositoryError: a value that cannot be read as what it must be; names it.
    """
    try:
        migration = _from_llmapi(found) if found.llm_arguments is not None else _from_engine(found)
    except (TypeError, ValueError) as exc:  # of a number in model.yaml or config.json that is none
        where = "tensorrt_llm/1/model.yaml" if found.llm_arguments is not None else "the engine's config.json"
        raise RepositoryError(f"{found.path}: {where} has a value that cannot be read: {exc}") from exc
    migration.settings["TRIDENT_ENGINE"] = migration.recipe["name"]
    return migration


def _from_engine(found: FoundRepository) -> Migration:
    config = found.engine_config
    pretrained, build = _part(config, "pretrained_config"), _part(config, "build_config")
    checkpoint = found.parameter("tokenizer_dir", "preprocessing") or found.parameter("tokenizer_dir") or "checkpoint"
    name = _recipe_name(Path(checkpoint).name)
    assumed = []
    if not config:
        missing = f"{found.parameter('gpt_model_path')}/config.json"
        assumed.append(f"{missing} is not on this machine: precision, parallelism and limits are guesses")
    quantization, mapping = _part(pretrained, "quantization"), _part(pretrained, "mapping")
    recipe: dict[str, Any] = {
        "name": name,
        "kind": EngineKind.TENSORRT_LLM.value,
        "precision": _precision(quantization, str(pretrained.get("dtype", "auto")), assumed),
        "source": _source(checkpoint, assumed),
    }
    if kv_cache := _KV_CACHES.get(str(quantization.get("kv_cache_quant_algo"))):
        recipe["quantization"] = {"kv_cache": kv_cache}
    recipe |= _parallelism(mapping.get("tp_size", 1), mapping.get("pp_size", 1))
    if mapping.get("cp_size", 1) != 1:
        assumed.append(f"the engine has cp_size {mapping['cp_size']}: context parallelism is not served, tp and pp are")
    recipe["limits"] = _limits(found, build, _kv_cache(found), assumed)
    num_beams = int(build.get("max_beam_width") or 1) if config else _read(found, "max_beam_width", int, "1")
    if num_beams > 1:
        recipe["trtllm_build"] = {"max_beam_width": num_beams}
    options = {
        option: _read(found, key, _reader(key)) for key, option in OPTIONS.items() if found.parameter(key) is not None
    }
    if options:
        recipe["options"] = options
    return Migration(recipe, {"TRIDENT_BACKEND": "python"}, assumed)


def _from_llmapi(found: FoundRepository) -> Migration:
    arguments = dict(found.llm_arguments or {})
    model = str(arguments.pop("model"))
    arguments.pop("triton_config", None)
    backend = arguments.pop("backend", None) or "pytorch"
    sections = {name: arguments.pop(name) for name in SECTIONS if isinstance(arguments.get(name), dict)}
    cache = sections.setdefault("kv_cache_config", {}).copy()
    assumed = ["precision is bf16 here; a quantized checkpoint is served as its own config says: name its precision"]
    if backend != "pytorch":
        assumed.append(f"backend {backend}: the recipe is for the PyTorch backend")
    recipe: dict[str, Any] = {
        "name": _recipe_name(model.rpartition("/")[2]),
        "kind": EngineKind.TENSORRT_LLM_PYTORCH.value,
        "precision": "bf16",
        "source": _source(model, assumed),
        **_parallelism(arguments.pop("tensor_parallel_size", 1), arguments.pop("pipeline_parallel_size", 1)),
    }
    size = {"kv_cache_fraction": float(cache.pop("free_gpu_memory_fraction", None) or _DEFAULT_FRACTION)}
    if (tokens := cache.pop("max_tokens", None)) is not None:
        size = {"kv_cache_tokens": tokens}
    names = ("max_input_len", "max_seq_len", "max_batch_size", "max_num_tokens")
    build = {name: arguments.pop(name) for name in names if arguments.get(name) is not None}
    recipe["limits"] = _limits(found, build, size, assumed)
    if options := _llm_options(arguments, sections | {"kv_cache_config": cache}, assumed):
        recipe["options"] = options
    return Migration(recipe, {}, assumed)


def _llm_options(
    arguments: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]], assumed: list[str]
) -> dict[str, Any]:
    """Options of the recipe: what is left of model.yaml, without what the engine's loader sets or refuses itself."""
    rest = dict(arguments)
    for name, section in sections.items():
        rest |= {f"{name}.{key}": value for key, value in section.items()}
    options = {}
    for key, value in rest.items():
        if value is None:
            continue
        if key in LLMAPI_ARGUMENTS_LEFT_OUT:
            assumed.append(f"{key} of model.yaml was left out: {LLMAPI_ARGUMENTS_LEFT_OUT[key]}")
        elif isinstance(value, (str, int, float, bool)):
            options[key] = value
        else:
            assumed.append(f"{key} of model.yaml is no single value and was left out")
    return options


def _part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}


def _recipe_name(text: str) -> str:
    kept = "".join(character if character.isalnum() or character in "._-" else "-" for character in text.lower())
    return kept.strip("._-").encode("ascii", "ignore").decode() or "migrated"


def _precision(quantization: Mapping[str, Any], dtype: str, assumed: list[str]) -> str:
    algorithm = quantization.get("quant_algo")
    if algorithm is None:
        return _DTYPES.get(dtype, "bf16")
    if algorithm not in PRECISIONS:
        assumed.append(f"quantization {algorithm} is none of a recipe's precisions; fp8 stands there now")
    return PRECISIONS.get(str(algorithm), "fp8")


def _source(checkpoint: str, assumed: list[str]) -> dict[str, Any]:
    """A folder when it looks like one, else a repository of the Hugging Face hub."""
    name = checkpoint.rpartition("/")[2] or "model"
    assumed.append("source.licence is unknown here: say the model's own")
    common = {"model": name, "licence": "unknown"}
    is_hub = checkpoint.count("/") == 1 and not checkpoint.startswith((".", "/", "~"))
    if is_hub:
        assumed.append(f"source.revision: 'main' of {checkpoint} moves; a commit pins it")
        return {"type": "hf", "repo": checkpoint, "revision": "main", **common}
    assumed.append(f"source.path: {checkpoint} must hold the whole checkpoint, not the tokenizer alone")
    return {"type": "folder", "path": checkpoint, **common}


def _parallelism(tp: object, pp: object) -> dict[str, Any]:
    spread = {name: int(str(value)) for name, value in (("tp", tp), ("pp", pp)) if int(str(value)) != 1}
    return {"parallelism": spread} if spread else {}


def _kv_cache(found: FoundRepository) -> dict[str, Any]:
    if found.parameter("max_tokens_in_paged_kv_cache") is not None:
        return {"kv_cache_tokens": _read(found, "max_tokens_in_paged_kv_cache", int)}
    if found.parameter("kv_cache_free_gpu_mem_fraction") is None:
        return {"kv_cache_fraction": _DEFAULT_FRACTION}
    return {"kv_cache_fraction": _read(found, "kv_cache_free_gpu_mem_fraction", float)}


def _limits(
    found: FoundRepository, build: Mapping[str, Any], kv_cache: dict[str, Any], assumed: list[str]
) -> dict[str, Any]:
    sizes = {"max_seq_len": 8192, "max_batch_size": 64, "max_num_tokens": 8192}
    for name, value in sizes.items():
        if build.get(name) is None:
            assumed.append(f"{name} is not said: {value} in the recipe")
    seq, batch, step = (int(build.get(name) or value) for name, value in sizes.items())
    longest = min(int(build.get("max_input_len") or seq - 1), seq - 1)
    queue = found.configs["tensorrt_llm"].dynamic_batching.default_queue_policy.max_queue_size
    if not queue:
        assumed.append(f"the queue is unlimited; Trident's never is: max_queued_requests {_DEFAULT_QUEUE}")
    if kv_cache.get("kv_cache_tokens", seq) < seq:
        assumed.append(
            f"{kv_cache['kv_cache_tokens']} tokens of KV cache hold no sequence of {seq}; {seq} in the recipe"
        )
        kv_cache = {"kv_cache_tokens": seq}
    return {
        "max_input_tokens": longest,
        "max_output_tokens": seq - 1,
        "max_seq_tokens": seq,
        "max_num_seqs": batch,
        "max_num_batched_tokens": step,
        "max_queued_requests": max(queue or _DEFAULT_QUEUE, batch),
        **kv_cache,
    }


def _read(found: FoundRepository, key: str, read: Callable[[str], Any], default: str = "") -> Any:
    text = found.parameter(key) or default
    try:
        return read(text)
    except ValueError as exc:
        raise RepositoryError(
            f"{found.path}/tensorrt_llm/config.pbtxt: {key} is '{text}', which cannot be read"
        ) from exc


def _reader(key: str) -> Callable[[str], Any]:
    if key == "batch_scheduler_policy":
        return _policy
    if key == "lora_cache_gpu_memory_fraction":
        return float
    return _bool if key in _SWITCHES else int


def _policy(text: str) -> str:
    """NVIDIA's backend warns and takes its default where the name is none of its own."""
    return text.upper() if text in {"max_utilization", "guaranteed_no_evict"} else "GUARANTEED_NO_EVICT"


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError(text)
    return text.lower() in {"true", "1"}
