"""A Hugging Face checkpoint as OpenVINO IR, through optimum-intel and NNCF, in a process of its own (see `child`).

The only import of optimum. Weights become INT8 (one scale a channel) or INT4 (one a group); the embedding and the last
layer of an INT4 model stay INT8, which is NNCF's default.
"""

from __future__ import annotations

import sys
from typing import Any

sys.modules["torchvision"] = None  # type: ignore[assignment] # optimum wants it; beside a CPU build of PyTorch it breaks

from optimum.exporters.openvino.convert import export_tokenizer  # noqa: E402
from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from trident_build.child import serve_actions  # noqa: E402


def export(
    checkpoint: str,
    output: str,
    precision: str,
    group_size: int | None,
    awq: bool,
    scale_estimation: bool,
    samples: list[str],
    exclude: list[str],
) -> None:
    """Write openvino_model.{xml,bin} of the folder `checkpoint` into the folder `output`."""
    config: OVWeightQuantizationConfig | None = None
    ignored: dict[str, Any] = {"ignored_scope": {"patterns": exclude}} if exclude else {}
    if precision == "int8":
        config = OVWeightQuantizationConfig(bits=8, sym=False, **ignored)
    elif precision == "int4":
        config = OVWeightQuantizationConfig(
            bits=4,
            sym=False,
            group_size=group_size,
            ratio=1.0,
            quant_method="awq" if awq else "default",
            scale_estimation=scale_estimation,
            dataset=samples or None,
            num_samples=len(samples) or None,
            tokenizer=checkpoint,
            **ignored,
        )
    model = OVModelForCausalLM.from_pretrained(
        checkpoint, export=True, compile=False, quantization_config=config, load_in_8bit=False, local_files_only=True
    )
    model.save_pretrained(output)


def export_tokenizers(checkpoint: str, output: str) -> None:
    """Write openvino_tokenizer and openvino_detokenizer (.xml and .bin) of the folder `checkpoint`."""
    export_tokenizer(AutoTokenizer.from_pretrained(checkpoint, local_files_only=True), output)


if __name__ == "__main__":
    serve_actions(export, export_tokenizers)
