"""The layers of a converted model get the names by which adapters find them, or the model is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")
pytest.importorskip("openvino_genai")

HIDDEN, KEYS, INNER, VOCABULARY = 6, 3, 8, 20
LAYER = ((HIDDEN, HIDDEN), (KEYS, HIDDEN), (KEYS, HIDDEN), (HIDDEN, HIDDEN), (INNER, HIDDEN), (INNER, HIDDEN),
         (HIDDEN, INNER))  # fmt: skip


def graph(*sizes: tuple[int, int]) -> Any:
    """A model with weights of these sizes (out, in), made in this order and named as the GGUF reader's."""
    ops = openvino.opset13
    results = []
    for number, (size_out, size_in) in enumerate(sizes):
        values = ops.parameter([-1, size_in], np.float32)
        product = ops.matmul(values, ops.constant(np.zeros((size_out, size_in), np.float32)), False, True)
        product.set_friendly_name(f"MatMul_{9 + number}")  # two digits after one: their order is that of numbers
        results.append((values, product))
    return openvino.Model([product.output(0) for _, product in results], [values for values, _ in results])


def names(model: Any) -> list[str]:
    from trident_build.openvino import name_layers  # noqa: PLC0415 - a test without OpenVINO is skipped before

    name_layers(model)
    return [result.input_value(0).get_node().get_friendly_name() for result in model.get_results()]


def test_every_weight_has_hugging_face_s_name() -> None:
    parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
             "mlp.up_proj", "mlp.down_proj"]  # fmt: skip
    found = names(graph(*LAYER, *LAYER, (VOCABULARY, HIDDEN)))
    expected = [f"model.layers.{layer}.{part}" for layer in (0, 1) for part in parts]
    assert [name.split("/")[0].removeprefix("__module.") for name in found[:-1]] == expected
    assert found[-1] == "MatMul_23"


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ((*LAYER, *LAYER), "14 weights, not 7 a layer and the output's"),
        ((*LAYER[::-1], (VOCABULARY, HIDDEN)), "weights of its layer 0 are of unexpected sizes"),
        ((*LAYER, *LAYER[1:], LAYER[0], (VOCABULARY, HIDDEN)), "weights of its layer 1 are of unexpected sizes"),
    ],
)
def test_a_graph_of_another_kind_is_refused(sizes: tuple[tuple[int, int], ...], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        names(graph(*sizes))
