"""`config.json` of a TensorRT-LLM checkpoint: typed, mended where ModelOpt leaves it wrong, compared with the source.

Fields: TensorRT-LLM's PretrainedConfig and QuantConfig, 1.x. Keys it does not know it keeps as attributes, so here too
only those of the parts are closed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trident.errors import EngineError
from trident.faults import explain_invalid
from trident.manifest import Parallelism
from trident_build.checkpoint_formats import FORMATS, KV_ALGORITHMS, Shape

FILE_NAME = "config.json"
Dtype = Literal["float16", "bfloat16", "float32"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mapped(_Closed):
    """How the checkpoint is cut."""

    world_size: int = Field(default=1, ge=1)
    tp_size: int = Field(default=1, ge=1)
    pp_size: int = Field(default=1, ge=1)
    cp_size: int = Field(default=1, ge=1)
    moe_tp_size: int | None = None
    moe_ep_size: int | None = None


class Quantized(_Closed):
    """QuantConfig."""

    quant_algo: str | None = None
    kv_cache_quant_algo: str | None = None
    group_size: int | None = None
    smoothquant_val: float | None = None
    clamp_val: tuple[float, ...] | None = None
    has_zero_point: bool = False
    pre_quant_scale: bool = False
    use_meta_recipe: bool = False
    exclude_modules: tuple[str, ...] | None = None


class CheckpointConfig(BaseModel):
    """PretrainedConfig."""

    model_config = ConfigDict(frozen=True, extra="allow")

    architecture: str
    dtype: Dtype
    logits_dtype: Dtype = "float32"
    vocab_size: int
    max_position_embeddings: int | None = None
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_size: int
    intermediate_size: int
    hidden_act: str
    norm_epsilon: float
    position_embedding_type: str = "learned_absolute"
    use_parallel_embedding: bool = False
    embedding_sharding_dim: int = 0
    rotary_base: float = 10000.0  # TensorRT-LLM's default, silently wrong for most models
    rotary_scaling: dict[str, Any] | None = None
    mapping: Mapped = Mapped()
    quantization: Quantized = Quantized()


def read_config(folder: Path) -> CheckpointConfig:
    """The config.json in `folder`.

    Raises:
        EngineError: missing, no JSON, or not what TensorRT-LLM reads.
    """
    path = folder / FILE_NAME
    try:
        return CheckpointConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise EngineError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValidationError as exc:
        raise EngineError(f"{path}: {explain_invalid(exc, CheckpointConfig)}") from exc


def rotary(source: Mapping[str, Any]) -> tuple[float, dict[str, Any] | None]:
    """Base and scaling of the rotary embedding, from a config.json of transformers 4 or 5."""
    parameters = dict(source.get("rope_parameters") or source.get("rope_scaling") or {})
    base = parameters.pop("rope_theta", None) or source.get("rope_theta") or 10000.0
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return float(base), None
    return float(base), {**parameters, "type": kind, "rope_type": kind}


def expected_config(source: Mapping[str, Any], parallelism: Parallelism) -> dict[str, Any]:
    """What a TensorRT-LLM config.json must say of the model in the Hugging Face config.json `source`."""
    shape = Shape.of(source)
    base, scaling = rotary(source)
    tp, pp = parallelism.tp, parallelism.pp
    model_type = source.get("model_type", "llama")
    return {
        "architecture": shape.architecture,
        "logits_dtype": "float32",
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": source.get("max_position_embeddings"),
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_size": shape.head_size,
        "intermediate_size": shape.intermediate_size,
        "hidden_act": source.get("hidden_act", "silu"),
        "norm_epsilon": source.get("rms_norm_eps", 1e-6),
        "position_embedding_type": "rope_gpt_neox",
        "rotary_base": base,
        "rotary_scaling": scaling,
        "attn_bias": model_type == "qwen2" or bool(source.get("attention_bias")),
        "mlp_bias": bool(source.get("mlp_bias")),
        **({"qwen_type": model_type} if model_type.startswith("qwen") else {}),
        "mapping": {"world_size": tp * pp, "tp_size": tp, "pp_size": pp, "cp_size": 1},
    }


def mend_config(folder: Path, source: Mapping[str, Any], precision: str, parallelism: Parallelism) -> None:
    """Put right in `folder` what ModelOpt 0.47 writes wrongly or leaves out without tensorrt_llm beside it.

    rotary_base and rotary_scaling (it looks for names that transformers 5 no longer has), logits_dtype (float16 where
    the engine model's tensors are float32), attn_bias and qwen_type, and the weight-only algorithms, whose weights
    TensorRT-LLM quantizes itself when it loads them.
    """
    path = folder / FILE_NAME
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config |= expected_config(source, parallelism)
    config["quantization"]["quant_algo"] = FORMATS[precision].algorithm
    if precision.endswith("_wo"):
        config["quantization"]["exclude_modules"] = ["lm_head"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "quant_cfg.json").unlink(missing_ok=True)  # of mixed precision only; ModelOpt writes an empty one


def config_problems(
    config: CheckpointConfig,
    source: Mapping[str, Any],
    *,
    precision: str,
    kv_cache: str | None,
    group_size: int | None,
    parallelism: Parallelism,
) -> list[str]:
    """Every key that contradicts the source or the recipe, a line each."""
    form = FORMATS[precision]
    found = config.model_dump(mode="json")
    expected = expected_config(source, parallelism)
    expected["quantization"] = {
        "quant_algo": form.algorithm,
        "kv_cache_quant_algo": KV_ALGORITHMS[kv_cache],
        "pre_quant_scale": precision in {"int4_awq", "w4a8_awq"},
        "has_zero_point": False,
        **({"group_size": group_size} if form.is_grouped else {}),
    }
    problems = []
    for key, value in _flat(expected):
        actual = dict(_flat(found)).get(key)
        if actual != value and not (isinstance(value, float) and actual is not None and _close(actual, value)):
            problems.append(f"config.json {key} is {json.dumps(actual)}, must be {json.dumps(value)}")
    return problems


def _close(one: Any, other: float) -> bool:
    return isinstance(one, (int, float)) and abs(one - other) <= 1e-6 * abs(other)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and key in {"mapping", "quantization"}:
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs
