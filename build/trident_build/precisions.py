"""Which precisions and KV caches each kind of engine can be built with. Knows nothing of how.

An OpenVINO engine from a GGUF file may also keep the file's own precision ("q4_1", "q8_0", ...).
"""

from __future__ import annotations

from trident.errors import did_you_mean
from trident.manifest import EngineKind

REPLAY = "none"  # without weights
UNQUANTIZED = ("bf16", "f16")  # of NVIDIA's kinds
# From a Hugging Face checkpoint; a GGUF file becomes one first.
OPENVINO = ("f16", "int8", "int4")
EMBEDDING = ("f16", "f32")  # of the weights; it computes in 32 bits
# NVIDIA ModelOpt's formats by the names that TensorRT-LLM's quantize.py gave them, and none at all.
TENSORRT = (
    "bf16", "f16", "fp8", "int4_awq", "w4a8_awq", "int8_sq", "nvfp4", "int8_wo", "int4_wo",
)  # fmt: skip
_GGUF = ("f32", "bf16", "q", "iq", "tq", "mxfp4")  # how llama.cpp's names for file types begin
_KV_CACHES = {
    EngineKind.OPENVINO: ("u8", "f16", "u4"),
    EngineKind.OPENVINO_EMBEDDING: (),
    EngineKind.TENSORRT_LLM: ("fp8", "int8"),
    EngineKind.TENSORRT_LLM_PYTORCH: ("fp8",),
    EngineKind.REPLAY: (),
}
_OF_KIND = {
    EngineKind.OPENVINO: OPENVINO,
    EngineKind.OPENVINO_EMBEDDING: EMBEDDING,
    EngineKind.REPLAY: (REPLAY,),
}


def check_precision(kind: EngineKind, precision: str) -> None:
    """Refuse a precision that no engine of this kind has.

    Raises:
        ValueError: names those that there are.
    """
    known = _OF_KIND.get(kind, TENSORRT)
    if precision in known or (kind is EngineKind.OPENVINO and precision.startswith(_GGUF)):
        return
    if kind is EngineKind.REPLAY:
        raise ValueError(f"a replay engine has no weights; precision must be '{REPLAY}'")
    own = ", or the GGUF file's own" if kind is EngineKind.OPENVINO else ""
    hint = did_you_mean(precision, known).replace("; did", ", did")
    raise ValueError(f"kind '{kind.value}' has {', '.join(known)}{own}{hint}")


def check_kv_cache(kind: EngineKind, precision: str | None) -> None:
    """Refuse a KV cache that no engine of this kind has.

    Raises:
        ValueError: names those that there are.
    """
    known = _KV_CACHES[kind]
    if precision is not None and precision not in known:
        raise ValueError(
            f"quantization.kv_cache '{precision}' is not for kind '{kind.value}', "
            f"which has {', '.join(known) or 'none'}"
        )
