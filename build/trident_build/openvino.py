"""OpenVINO GenAI in a process of its own (see `child`): the builder's only import of openvino_genai.

`openvino_process` is the other side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino as ov
import openvino_genai as ov_genai

from trident_build.child import serve_actions

KV_BLOCKS = 64  # of 32 tokens: for one short completion
LAYER_PARTS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
               "mlp.up_proj", "mlp.down_proj")  # fmt: skip
_UNNAMED = "MatMul_"  # then a number, which rises as the graph is made


def convert(gguf: str) -> None:
    """Write the IR of the model, its tokenizer and its detokenizer beside the file."""
    ov_genai.LLMPipeline(gguf, "CPU", enable_save_ov_model=True)
    model_path, named_path = (Path(gguf).with_name(f"{stem}.xml") for stem in ("openvino_model", "named"))
    model = ov.Core().read_model(model_path)
    name_layers(model)
    ov.save_model(model, named_path, compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        named_path.with_suffix(suffix).replace(model_path.with_suffix(suffix))


def name_layers(model: Any) -> None:
    """Give the MatMul of every weight of a decoder layer the name that an export from Hugging Face has.

    OpenVINO GenAI's GGUF reader (2026.4.1) gives none, and finds a LoRA adapter's layers by their names. It makes them
    in the order of LAYER_PARTS, layer by layer, and the output's last; what has other sizes than that is refused.

    Raises:
        ValueError: the weights are not those of such layers.
    """
    weights = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "MatMul" and node.input(1).get_partial_shape().is_static
    ]
    weights.sort(key=lambda node: int(node.get_friendly_name().removeprefix(_UNNAMED)))
    num_layers, num_others = divmod(len(weights), len(LAYER_PARTS))
    if num_others != 1:
        raise ValueError(f"its graph has {len(weights)} weights, not {len(LAYER_PARTS)} a layer and the output's")
    for layer in range(num_layers):
        parts = weights[layer * len(LAYER_PARTS) :][: len(LAYER_PARTS)]
        _check_sizes(layer, [tuple(node.input(1).get_shape()) for node in parts])
        for part, node in zip(LAYER_PARTS, parts, strict=True):
            node.set_friendly_name(f"__module.model.layers.{layer}.{part}/ov_ext::linear/MatMul")


def _check_sizes(layer: int, sizes: list[tuple[int, ...]]) -> None:
    (q_out, hidden), (k_out, _), _, _, (inner, _), _, _ = sizes
    key, up = (k_out, hidden), (inner, hidden)
    if sizes != [(q_out, hidden), key, key, (hidden, q_out), up, up, (hidden, inner)]:
        raise ValueError(f"the weights of its layer {layer} are of unexpected sizes: {sizes}")


def probe(engine: str, texts: list[str], prompt: str, max_new_tokens: int) -> dict[str, Any]:
    """The fields of `openvino_process.Probe`."""
    scheduler = ov_genai.SchedulerConfig()
    scheduler.num_kv_blocks = KV_BLOCKS
    pipeline = ov_genai.ContinuousBatchingPipeline(engine, scheduler, "CPU", {})
    tokenizer = pipeline.get_tokenizer()
    config = pipeline.get_config()
    config.max_new_tokens = max_new_tokens
    config.apply_chat_template = False
    config.do_sample = False
    return {
        "token_ids": [tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist() for text in texts],
        "vocabulary": {token.hex(): token_id for token, token_id in tokenizer.get_vocab().items()},
        "eos_id": tokenizer.get_eos_token_id(),
        "stop_ids": sorted(config.stop_token_ids),
        "completion": pipeline.generate([prompt], [config])[0].m_generation_ids[0],
    }


if __name__ == "__main__":
    serve_actions(convert, probe)
