"""The weights of an exported checkpoint as its engine will compute with them, by their Hugging Face names.

Undoes what an export does: quantization, smoothing, fused query-key-value, tensor and pipeline parallelism. Two
readers, one for each layout, the same questions. They know nothing of the model it was made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from trident.errors import EngineError, RecipeError
from trident_build.checkpoint_config import CheckpointConfig, read_config
from trident_build.dequantize import Array, Floats, dequantize, weight_only
from trident_build.safetensors_file import Tensors, checkpoint_tensors

_SMOOTH = "pre_quant_scale"
SCALES = ("weight_scale", "weight_scale_2", "input_scale", _SMOOTH)
_TRTLLM_SCALES = dict(
    zip(
        SCALES,
        ("weights_scaling_factor", "weights_scaling_factor_2", "activation_scaling_factor", "prequant_scaling_factor"),
        strict=True,
    )
)
_FUSED = ("q_proj", "k_proj", "v_proj")
_ROWS = {"o_proj": "attention.dense", "down_proj": "mlp.proj"}  # cut along their inputs
_COLUMNS = {"gate_proj": "mlp.fc", "up_proj": "mlp.gate"}  # cut along their outputs
_QKV = "attention.qkv"
_LINEAR = {**_ROWS, **_COLUMNS, **dict.fromkeys(_FUSED, _QKV)}
_COPIES = {  # every rank has all of it
    "input_layernorm.weight": "input_layernorm.weight",
    "post_attention_layernorm.weight": "post_layernorm.weight",
    "self_attn.q_norm.weight": "attention.q_layernorm.weight",
    "self_attn.k_norm.weight": "attention.k_layernorm.weight",
}
_WEIGHT_ONLY_BITS = {"W8A16": 8, "W4A16": 4}


class Checkpoint(Protocol):
    """An exported checkpoint of either layout."""

    def weight(self, name: str) -> Floats:
        """The tensor that the source calls `name`, in float32, dequantized."""

    def scales(self, name: str) -> dict[str, Array]:
        """The scales beside the linear layer whose weight the source calls `name`; an unquantized one has none."""

    def smoothing(self, name: str) -> Floats | None:
        """float32[inputs] that the engine multiplies a layer's input by; the weight was divided by it, then rounded."""

    def kv_scales(self, layer: int) -> list[float]:
        """Scales of the KV cache of one layer; none where it is not quantized."""


class UnifiedCheckpoint:
    """Layout "hf": ModelOpt's unified Hugging Face checkpoint."""

    def __init__(self, folder: Path) -> None:
        """Read the headers in `folder`."""
        self._tensors = checkpoint_tensors(folder)

    def names(self) -> list[str]:
        """Names of all weights and biases, a tied lm_head included."""
        weights = [name for name in self._tensors.names() if name.endswith((".weight", ".bias"))]
        return weights if "lm_head.weight" in weights else [*weights, "lm_head.weight"]

    def weight(self, name: str) -> Floats:
        """See `Checkpoint`; a tied lm_head is the embedding."""
        if name == "lm_head.weight" and name not in self._tensors:
            name = "model.embed_tokens.weight"
        scales = self.scales(name)
        stem = name.removesuffix("weight")
        return _linear(self._tensors, name, scales, f"{stem}weight_scale")

    def scales(self, name: str) -> dict[str, Array]:
        """See `Checkpoint`."""
        stem = name.removesuffix("weight")
        return {scale: self._tensors.array(stem + scale) for scale in SCALES if stem + scale in self._tensors}

    def smoothing(self, name: str) -> Floats | None:
        """See `Checkpoint`."""
        return self.scales(name).get(_SMOOTH)

    def kv_scales(self, layer: int) -> list[float]:
        """See `Checkpoint`."""
        stem = f"model.layers.{layer}.self_attn"
        names = (f"{stem}.k_proj.k_scale", f"{stem}.v_proj.v_scale")
        return [float(self._tensors.array(name)) for name in names if name in self._tensors]


class TrtllmCheckpoint:
    """Layout "tensorrt_llm": config.json and one safetensors file for each rank, rank = tp rank + tp x pp rank."""

    def __init__(self, folder: Path) -> None:
        """Read config.json and the headers in `folder`.

        Raises:
            EngineError: a file is missing, truncated, or one too many.
        """
        self.config: CheckpointConfig = read_config(folder)
        mapping = self.config.mapping
        expected = {f"rank{rank}.safetensors" for rank in range(mapping.world_size)}
        found = {path.name for path in folder.glob("*.safetensors")}
        if expected != found:
            raise EngineError(
                f"{folder} has {', '.join(sorted(found)) or 'no ranks'}; world_size {mapping.world_size} of its "
                f"config.json means {', '.join(sorted(expected))}"
            )
        self._tp = mapping.tp_size
        self._layers_per_rank = self.config.num_hidden_layers // mapping.pp_size
        try:
            self._ranks = [Tensors([folder / f"rank{rank}.safetensors"]) for rank in range(mapping.world_size)]
        except RecipeError as exc:
            raise EngineError(exc.message) from exc

    def weight(self, name: str) -> Floats:
        """See `Checkpoint`."""
        if name in {"model.embed_tokens.weight", "lm_head.weight"}:
            return self._vocabulary(name)
        if name == "model.norm.weight":
            return self._same(self._ranks[-self._tp :], "transformer.ln_f.weight")
        ranks, prefix, part = self._place(name)
        if part in _COPIES:
            return self._same(ranks, f"{prefix}.{_COPIES[part]}")
        _, layer, kind = part.split(".")
        if layer in _FUSED:
            return self._fused(ranks, f"{prefix}.{_QKV}.{kind}", _FUSED.index(layer))
        pieces = [self._piece(rank, f"{prefix}.{_LINEAR[layer]}.{kind}") for rank in ranks]
        if layer in _ROWS:
            return pieces[0] if kind == "bias" else np.concatenate(pieces, axis=1)
        return np.concatenate(pieces)

    def scales(self, name: str) -> dict[str, Array]:
        """See `Checkpoint`; of the first rank."""
        return self._layer_scales(name)[0]

    def smoothing(self, name: str) -> Floats | None:
        """See `Checkpoint`; a layer that is cut along its inputs has a piece of it on each rank."""
        pieces = [scales[_SMOOTH] for scales in self._layer_scales(name) if _SMOOTH in scales]
        if not pieces:
            return None
        return np.concatenate(pieces) if name.split(".")[-2] in _ROWS else pieces[0]

    def _layer_scales(self, name: str) -> list[dict[str, Array]]:
        if not name.startswith("model.layers.") or name.split(".")[-2] not in _LINEAR:
            return [{}]
        ranks, prefix, part = self._place(name)
        return [_trtllm_scales(rank, f"{prefix}.{_LINEAR[part.split('.')[1]]}.") for rank in ranks]

    def kv_scales(self, layer: int) -> list[float]:
        """See `Checkpoint`."""
        ranks, prefix, _ = self._place(f"model.layers.{layer}.input_layernorm.weight")
        names = [f"{prefix}.attention.{kind}_cache_scaling_factor" for kind in ("k", "v")]
        return [float(rank.array(name).reshape(())) for rank in ranks for name in names if name in rank]

    def _place(self, name: str) -> tuple[list[Tensors], str, str]:
        """Ranks that hold a layer's tensor, the layer's name in them, and the tensor's name within the layer."""
        _, _, number, part = name.split(".", 3)
        pp_rank, layer = divmod(int(number), self._layers_per_rank)
        first = pp_rank * self._tp
        return self._ranks[first : first + self._tp], f"transformer.layers.{layer}", part

    def _piece(self, rank: Tensors, name: str) -> Floats:
        stem = name.removesuffix("weight")
        piece = _linear(rank, name, _trtllm_scales(rank, stem), f"{stem}weights_scaling_factor")
        bits = _WEIGHT_ONLY_BITS.get(self.config.quantization.quant_algo or "")
        return weight_only(piece, bits) if bits and name.endswith("weight") else piece

    def _fused(self, ranks: list[Tensors], name: str, part: int) -> Floats:
        """Query, key or value (part 0, 1, 2): each rank has its heads of all three, one below the other."""
        heads, kv_heads, size = (
            self.config.num_attention_heads // self._tp,
            max(self.config.num_key_value_heads // self._tp, 1),
            self.config.head_size,
        )
        ends = np.cumsum([0, heads * size, kv_heads * size, kv_heads * size])
        pieces = []
        for rank in ranks:
            whole = self._piece(rank, name)
            if whole.shape[0] != ends[-1]:
                raise EngineError(f"{name} has {whole.shape[0]} outputs, its heads are {ends[-1]}")
            pieces.append(whole[ends[part] : ends[part + 1]])
        if part and self._tp > self.config.num_key_value_heads:  # several ranks have the same head
            pieces = pieces[:: self._tp // self.config.num_key_value_heads]
        return np.concatenate(pieces)

    def _vocabulary(self, name: str) -> Floats:
        """Cut along the vocabulary, padded to a multiple of tp."""
        if name == "lm_head.weight" and name in self._ranks[-1]:
            pieces = [rank.array(name) for rank in self._ranks[-self._tp :]]
        else:
            pieces = [rank.array("transformer.vocab_embedding.weight") for rank in self._ranks[: self._tp]]
        whole = np.concatenate(pieces) if self.config.use_parallel_embedding or name == "lm_head.weight" else pieces[0]
        if not self.config.vocab_size <= whole.shape[0] < self.config.vocab_size + self._tp:
            raise EngineError(f"{name} has {whole.shape[0]} rows for a vocabulary of {self.config.vocab_size}")
        return np.asarray(whole[: self.config.vocab_size], np.float32)

    def _same(self, ranks: list[Tensors], name: str) -> Floats:
        first, *others = [rank.array(name) for rank in ranks]
        if any(not np.array_equal(first, other) for other in others):
            raise EngineError(f"{name} is not the same on every rank")
        return np.asarray(first, np.float32)


def _trtllm_scales(rank: Tensors, stem: str) -> dict[str, Array]:
    return {scale: rank.array(stem + own) for scale, own in _TRTLLM_SCALES.items() if stem + own in rank}


def _linear(tensors: Tensors, name: str, scales: dict[str, Array], scale_name: str) -> Floats:
    stored = tensors.array(name)
    if "weight_scale" not in scales or not name.endswith("weight"):
        return np.asarray(stored, np.float32)
    scale, scale_2 = scales["weight_scale"], scales.get("weight_scale_2")
    matrix = dequantize(name, stored, tensors.dtype(name), scale, tensors.dtype(scale_name), scale_2)
    smooth = scales.get(_SMOOTH)  # the engine multiplies the input by it, which is the same
    return matrix if smooth is None else np.asarray(matrix * smooth.reshape(1, -1), np.float32)
