"""Copies of the embedded engine: with another manifest, with adapters, with a draft."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from trident.manifest import FILE_NAME, read_manifest, write_manifest

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
CHANGED = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
# Then the tokens of a sequence do not depend on what else is in its batch.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def copy_engine(built: Path, directory: Path, **changes) -> Path:
    """Links to the files that are not in `directory` yet, and the manifest with `changes`; `limits` is a dict."""
    directory.mkdir(exist_ok=True)
    for path in built.iterdir():
        if path.name != FILE_NAME and not (directory / path.name).exists():
            (directory / path.name).symlink_to(path)
    manifest = read_manifest(built)
    limits = manifest.limits.model_copy(update=changes.pop("limits", {}))
    write_manifest(directory, manifest.model_copy(update={"limits": limits, "options": EXACT, **changes}))
    return directory


def write_damped_model(built: Path, directory: Path, layers: tuple[int, ...]) -> None:
    """The model, of which these layers add a third of what they should."""
    import openvino as ov  # noqa: PLC0415 - a test without OpenVINO is skipped before
    from openvino import opset13 as ops  # noqa: PLC0415

    model = ov.Core().read_model(built / "openvino_model.xml")
    for node in model.get_ops():
        if any(f".layers.{layer}.mlp.down_proj/" in node.get_friendly_name() for layer in layers):
            consumers = list(node.output(0).get_target_inputs())
            damped = ops.multiply(node.output(0), ops.constant(np.float32(0.3)))
            for consumer in consumers:
                consumer.replace_source_output(damped.output(0))
    directory.mkdir(exist_ok=True)
    ov.save_model(model, directory / "openvino_model.xml", compress_to_fp16=False)


def lora_weights(seed: int, changed: tuple[str, ...] = CHANGED) -> dict[str, np.ndarray]:
    """Random weights of rank 4 for these parts of every layer, strong enough to turn every answer into another."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in range(NUM_LAYERS):
        for name in changed:
            size_out, size_in = LAYER_SHAPES[name]
            key = f"base_model.model.model.layers.{layer}.{name}"
            weights[f"{key}.lora_A.weight"] = rng.standard_normal((4, size_in), np.float32) * 0.15
            weights[f"{key}.lora_B.weight"] = rng.standard_normal((size_out, 4), np.float32) * 0.15
    return weights


def write_lora(folder: Path, weights: dict[str, np.ndarray], **config) -> None:
    """A PEFT adapter: https://huggingface.co/docs/peft/developer_guides/checkpoint."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": False, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    header: dict[str, dict] = {"__metadata__": {"format": "pt"}}
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
