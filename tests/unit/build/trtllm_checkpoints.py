"""A small Hugging Face llama, and TensorRT-LLM checkpoints of it written by hand: the format, a second time.

Quantizes, packs, smooths, fuses and cuts in the plainest way, so that what reads checkpoints is compared with something
that is not ModelOpt and not itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from trident_build.dequantize import E2M1_VALUES
from trident_build.safetensors_file import e4m3_values

HIDDEN, INNER, HEADS, KV_HEADS, HEAD, LAYERS, VOCAB = 256, 512, 4, 2, 64, 2, 333
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "num_hidden_layers": LAYERS,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 77777.0},
    "tie_word_embeddings": True,
    "vocab_size": VOCAB,
    "dtype": "float16",
}
_DTYPES = {"f2": "F16", "f4": "F32", "i1": "I8", "u1": "U8"}
_WIDTHS = {
    "self_attn.q_proj": (HEADS * HEAD, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HEADS * HEAD),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
Arrays = dict[str, Any]


def write_safetensors(path: Path, arrays: Arrays) -> None:
    """Arrays by name; a pair is one with the name of its dtype."""
    header, content = {}, b""
    for name, value in arrays.items():
        array, dtype = value if isinstance(value, tuple) else (value, _DTYPES[value.dtype.str[1:]])
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def write_source(folder: Path, **changes: Any) -> Arrays:
    """The Hugging Face checkpoint, in float16; its tensors."""
    rng = np.random.default_rng(0)
    arrays = {
        "model.embed_tokens.weight": rng.normal(size=(VOCAB, HIDDEN)),
        "model.norm.weight": rng.normal(1, 0.1, HIDDEN),
    }
    for layer in range(LAYERS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            arrays[f"model.layers.{layer}.{norm}.weight"] = rng.normal(1, 0.1, HIDDEN)
        for name, shape in _WIDTHS.items():
            arrays[f"model.layers.{layer}.{name}.weight"] = rng.normal(scale=0.05, size=shape)
    halves = {name: array.astype("<f2") for name, array in arrays.items()}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", halves)
    return {name: array.astype(np.float32) for name, array in halves.items()}


def nearest(values: Any, table: Any) -> Any:
    """Index of the nearest value of `table` for each of `values`."""
    order = np.argsort(np.nan_to_num(table, nan=1e9), kind="stable")
    ordered = np.nan_to_num(table, nan=1e9)[order]
    right = np.clip(np.searchsorted(ordered, values), 1, len(table) - 1)
    return order[np.where(values - ordered[right - 1] < ordered[right] - values, right - 1, right)].astype(np.uint8)


def quantize(weight: Any, precision: str, smooth: Any, group: int = 64) -> Arrays:
    """One linear layer float32[outputs, inputs] as TensorRT-LLM stores it."""
    outputs, inputs = weight.shape
    one = np.ones(1, "<f4")
    if precision == "fp8":
        scale = np.abs(weight).max() / 448
        found = {"weight": (nearest(weight / scale, e4m3_values()), "F8_E4M3"), "weights_scaling_factor": one * scale}
        return {**found, "activation_scaling_factor": one}
    if precision == "nvfp4":
        blocks = weight.reshape(outputs, inputs // 16, 16)
        scale_2 = np.abs(weight).max() / (6 * 448)
        codes = nearest(np.abs(blocks).max(-1) / 6 / scale_2, e4m3_values())
        nibbles = nearest(blocks / (e4m3_values()[codes] * scale_2)[:, :, None], E2M1_VALUES).reshape(outputs, inputs)
        packed = nibbles[:, ::2] | nibbles[:, 1::2] << 4
        found = {
            "weight": packed,
            "weights_scaling_factor": (codes, "F8_E4M3"),
            "weights_scaling_factor_2": one * scale_2,
        }
        return {**found, "activation_scaling_factor": one}
    smoothed = weight / smooth
    found = {"prequant_scaling_factor": smooth.astype("<f2")}
    if precision == "int8_sq":
        scales = np.abs(smoothed).max(1) / 127
        rounded = np.rint(smoothed / scales[:, None]).astype("i1")
        return {
            **found,
            "weight": rounded,
            "weights_scaling_factor": scales.astype("<f4"),
            "activation_scaling_factor": one,
        }
    blocks = smoothed.reshape(outputs, inputs // group, group)
    scales = np.abs(blocks).max(-1) / 7
    codes = np.rint(blocks / scales[:, :, None]).astype("i1").reshape(outputs, inputs).view("u1") & 15
    packed = (codes[::2] | codes[1::2] << 4).view("i1")
    return {**found, "weight": packed, "weights_scaling_factor": scales.astype("<f4")}


def write_trtllm(
    folder: Path, source: Arrays, precision: str, algorithm: str, tp: int, pp: int, **changes: Any
) -> None:
    """The TensorRT-LLM checkpoint of `source`; `changes` replace values of config.json."""
    folder.mkdir(parents=True)
    smooth = {width: 1 + np.arange(width) % 4 / 8 for width in (HIDDEN, INNER)}  # exact in float16
    for pp_rank in range(pp):
        for tp_rank in range(tp):
            arrays: Arrays = {}
            if pp_rank == 0:
                arrays["transformer.vocab_embedding.weight"] = _rows(source["model.embed_tokens.weight"], tp, tp_rank)
            if pp_rank == pp - 1:
                arrays["transformer.ln_f.weight"] = source["model.norm.weight"].astype("<f2")
                arrays["lm_head.weight"] = _rows(source["model.embed_tokens.weight"], tp, tp_rank)
            for own in range(LAYERS // pp):
                layer = f"model.layers.{pp_rank * (LAYERS // pp) + own}"
                arrays |= _layer(source, layer, f"transformer.layers.{own}", precision, smooth, tp, tp_rank)
            write_safetensors(folder / f"rank{pp_rank * tp + tp_rank}.safetensors", arrays)
    is_awq = precision.endswith("awq")
    config = {
        "architecture": "LlamaForCausalLM", "dtype": "float16", "logits_dtype": "float32", "vocab_size": VOCAB,
        "max_position_embeddings": 128, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_size": HEAD, "intermediate_size": INNER,
        "hidden_act": "silu", "norm_epsilon": 1e-5, "position_embedding_type": "rope_gpt_neox",
        "use_parallel_embedding": True, "rotary_base": 77777.0, "attn_bias": False, "mlp_bias": False,
        "mapping": {"world_size": tp * pp, "tp_size": tp, "pp_size": pp},
        "quantization": {
            "quant_algo": algorithm, "pre_quant_scale": is_awq,
            **({"group_size": 64} if is_awq else {"group_size": 16} if precision == "nvfp4" else {}),
        },
        **changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _rows(array: Any, tp: int, rank: int) -> Any:
    padded = np.pad(array, ((0, -len(array) % tp), (0, 0)))
    return np.split(padded, tp)[rank].astype("<f2")


def _layer(source: Arrays, layer: str, prefix: str, precision: str, smooth: Arrays, tp: int, rank: int) -> Arrays:
    def columns(name: str, count: int | None = None) -> Any:
        whole = source[f"{layer}.{name}.weight"]
        if count is not None and count < tp:  # fewer heads than GPUs: each is repeated
            whole = np.repeat(whole.reshape(count, HEAD, -1), tp // count, axis=0).reshape(-1, whole.shape[1])
        return np.split(whole, tp)[rank]

    qkv = [columns("self_attn.q_proj"), columns("self_attn.k_proj", KV_HEADS), columns("self_attn.v_proj", KV_HEADS)]
    parts = {
        "attention.qkv": (np.concatenate(qkv), smooth[HIDDEN]),
        "mlp.fc": (columns("mlp.gate_proj"), smooth[HIDDEN]),
        "mlp.gate": (columns("mlp.up_proj"), smooth[HIDDEN]),
        "attention.dense": (
            np.split(source[f"{layer}.self_attn.o_proj.weight"], tp, 1)[rank],
            np.split(smooth[HIDDEN], tp)[rank],
        ),
        "mlp.proj": (np.split(source[f"{layer}.mlp.down_proj.weight"], tp, 1)[rank], np.split(smooth[INNER], tp)[rank]),
    }
    arrays = {
        f"{prefix}.{name}.{tensor}": value
        for name, (weight, scale) in parts.items()
        for tensor, value in quantize(weight, precision, scale).items()
    }
    norms = {"input_layernorm": "input_layernorm", "post_layernorm": "post_attention_layernorm"}
    return arrays | {
        f"{prefix}.{own}.weight": source[f"{layer}.{hf}.weight"].astype("<f2") for own, hf in norms.items()
    }
