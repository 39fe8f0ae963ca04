"""A LoRA adapter of random weights for SmolLM2-135M, in PEFT's own format: for measurements and tests.

What it makes the model say is nonsense; what it costs is what an adapter of that rank costs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_LAYERS = 30
LAYER_SHAPES = {  # (out, in) of all that an adapter can change
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
_STRENGTH = 0.15  # of its weights: enough to turn every answer into another

Weights = Mapping[str, npt.NDArray[np.float32]]  # float32[rank, in] and float32[out, rank] by name


def lora_weights(seed: int, changed: Iterable[str], rank: int) -> dict[str, npt.NDArray[np.float32]]:
    """Random ones for the `changed` parts (of LAYER_SHAPES) of every layer."""
    rng = np.random.default_rng(seed)
    parts = list(changed)
    weights = {}
    for layer in range(NUM_LAYERS):
        for name in parts:
            size_out, size_in = LAYER_SHAPES[name]
            key = f"base_model.model.model.layers.{layer}.{name}"
            weights[f"{key}.lora_A.weight"] = rng.standard_normal((rank, size_in), np.float32) * _STRENGTH
            weights[f"{key}.lora_B.weight"] = rng.standard_normal((size_out, rank), np.float32) * _STRENGTH
    return weights


def write_lora(folder: Path, weights: Weights, **config: Any) -> None:
    """Write an adapter into the new folder `folder`.

    The files are those of https://huggingface.co/docs/peft/developer_guides/checkpoint, the tensors in
    https://huggingface.co/docs/safetensors/index#format. The rank is that of the weights, and `lora_alpha` twice that,
    unless `config` says otherwise.
    """
    folder.mkdir(parents=True)
    rank = min(next(iter(weights.values())).shape)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "use_rslora": False, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for name, array in weights.items():
        end = begin + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in weights.values():
            file.write(array.astype("<f4").tobytes())
