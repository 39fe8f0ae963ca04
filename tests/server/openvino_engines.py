"""Copies of the embedded engine that answer exactly, and a draft for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trident.bench.engine_variants import link_engine

CHANGED = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")  # by most adapters here
LORA_RANK = 4
# Then the tokens of a sequence do not depend on what else is in its batch.
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def copy_engine(built: Path, directory: Path, **changes) -> Path:
    """See `link_engine`; exact unless `options` says otherwise."""
    return link_engine(built, directory, **{"options": EXACT, **changes})


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
