"""A sentence embedder's computation as an OpenVINO model: BERT, the mean over the text's tokens, length 1.

Written with OpenVINO's own operations from the tensors of the checkpoint, so that no PyTorch is needed. Runs in a child
process; see `child`. BERT: https://arxiv.org/abs/1810.04805; names of tensors: transformers' `BertModel`.

input_ids, attention_mask  int32[texts, tokens], padded    ->    embedding  float32[texts, hidden]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from trident.embedding.encoder import Encoder
from trident.manifest import RequestLimits
from trident_build.child import serve_actions
from trident_build.embedding_checkpoint import WEIGHTS, EncoderShape
from trident_build.hf_checkpoint import read_json
from trident_build.safetensors_file import Tensors

LAST = np.array([-1], np.int64)  # axis of a token's values


def write_graph(checkpoint: str, output: str, precision: str) -> None:
    """Write openvino_model.xml and .bin of the checkpoint into the folder `output`; `precision` is of the weights."""
    shape = EncoderShape.of(read_json(Path(checkpoint) / "config.json"))
    model = build_graph(shape, Tensors([Path(checkpoint) / WEIGHTS]))
    ov.save_model(model, Path(output) / "openvino_model.xml", compress_to_fp16=precision == "f16")


def probe(engine: str, texts: list[str], limits: dict[str, int], pad_id: int) -> dict[str, list[list[float]]]:
    """The embeddings of `texts` by the engine in its folder, of all `together` and of each `alone`."""
    encoder = Encoder(Path(engine), RequestLimits(**limits), pad_id, {})
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    return {"together": encoder.encode(texts).vectors.tolist(), "alone": alone.tolist()}


def build_graph(shape: EncoderShape, tensors: Tensors) -> Any:
    """The model, its batch and its number of tokens free."""
    ids, mask = (_named(ops.parameter([-1, -1], np.int32), name) for name in ("input_ids", "attention_mask"))
    graph = _Graph(shape, tensors)
    hidden = graph.embedded(ids)
    weights = ops.convert(mask, "f32")  # 1 for a token, 0 for padding
    # As large as attention scores can be made smaller: padding gets no attention.
    bias = ops.multiply(ops.subtract(ops.unsqueeze(weights, _ints(1, 2)), np.float32(1)), np.finfo(np.float32).max)
    for number in range(shape.num_layers):
        hidden = graph.layer(f"encoder.layer.{number}", hidden, bias)
    result = _named(ops.result(_unit(_mean(hidden, ops.unsqueeze(weights, _ints(2))))), "embedding")
    return ov.Model([result], [ids, mask], "sentence_embedder")


def _named(node: Any, name: str) -> Any:
    node.output(0).set_names({name})
    return node


def _mean(hidden: Any, weights: Any) -> Any:
    """float32[texts, tokens, hidden] -> float32[texts, hidden]; a text has two tokens at least."""
    total = ops.reduce_sum(ops.multiply(hidden, weights), _ints(1), keep_dims=False)
    return ops.divide(total, ops.reduce_sum(weights, _ints(1), keep_dims=False))


def _unit(vectors: Any) -> Any:
    return ops.normalize_l2(vectors, LAST, eps=1e-12, eps_mode="max")


class _Graph:
    """Writes the parts of one encoder; `hidden` is float32[texts, tokens, hidden] everywhere."""

    def __init__(self, shape: EncoderShape, tensors: Tensors) -> None:
        self._shape = shape
        self._tensors = tensors

    def embedded(self, ids: Any) -> Any:
        """The sum of a token's own vector, its place's and that of a first sentence; there is no second."""
        own = ops.gather(self._tensor("embeddings.word_embeddings.weight"), ids, np.int64(0))
        place = self._array("embeddings.position_embeddings.weight")
        place = place + self._array("embeddings.token_type_embeddings.weight")[0]
        num_tokens = ops.gather(ops.shape_of(ids), _ints(1), np.int64(0))
        places = ops.slice(ops.constant(place), _ints(0), num_tokens, _ints(1), _ints(0))
        return self._normalised("embeddings.LayerNorm", ops.add(own, places))

    def layer(self, name: str, hidden: Any, bias: Any) -> Any:
        """Attention and two linear layers, each added to what it was given. `bias`: float32[texts, 1, 1, tokens]."""
        query, key, value = (
            self._heads(self._linear(f"{name}.attention.self.{part}", hidden)) for part in ("query", "key", "value")
        )
        seen = ops.scaled_dot_product_attention(query, key, value, bias)
        joined = ops.reshape(ops.transpose(seen, _ints(0, 2, 1, 3)), _ints(0, 0, self._shape.hidden), special_zero=True)
        attended = ops.add(hidden, self._linear(f"{name}.attention.output.dense", joined))
        attended = self._normalised(f"{name}.attention.output.LayerNorm", attended)
        inner = ops.gelu(self._linear(f"{name}.intermediate.dense", attended), "erf")
        return self._normalised(
            f"{name}.output.LayerNorm", ops.add(attended, self._linear(f"{name}.output.dense", inner))
        )

    def _heads(self, hidden: Any) -> Any:
        """float32[texts, heads, tokens, values]."""
        heads, width = self._shape.num_heads, self._shape.hidden // self._shape.num_heads
        return ops.transpose(ops.reshape(hidden, _ints(0, 0, heads, width), special_zero=True), _ints(0, 2, 1, 3))

    def _linear(self, name: str, values: Any) -> Any:
        product = ops.matmul(values, self._tensor(f"{name}.weight"), transpose_a=False, transpose_b=True)
        return ops.add(product, self._tensor(f"{name}.bias"))

    def _normalised(self, name: str, values: Any) -> Any:
        centred = ops.mvn(values, LAST, normalize_variance=True, eps=self._shape.epsilon, eps_mode="inside_sqrt")
        return ops.add(ops.multiply(centred, self._tensor(f"{name}.weight")), self._tensor(f"{name}.bias"))

    def _tensor(self, name: str) -> Any:
        return ops.constant(self._array(name))

    def _array(self, name: str) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(self._tensors.array(name), np.float32)


def _ints(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


if __name__ == "__main__":
    serve_actions(write_graph, probe)
