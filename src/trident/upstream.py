"""What NVIDIA's own repositories declare, as facts: `inflight_batcher_llm` and `llmapi` of TensorRT-LLM 1.0 to 1.2.1.

The facts lie in `upstream.json`. What Trident makes of them: `contract.py`, `repository_cpp.py`, `migrate_tables.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from trident.contract import Dtype, Model, Tensor

LLMAPI = "llmapi"
# What upstream's documentation fills into the dtypes that its template leaves open.
_OPEN_DTYPES = {
    "${logits_datatype}": "FP32",
    "${encoder_input_features_data_type}": "FP16",
    "${prompt_embedding_table_data_type}": "FP16",
}


@dataclass(frozen=True)
class Parameter:
    """One entry of a config's `parameters`."""

    template: str  # its value in the template: a placeholder, or a fixed value
    default: str  # what holds when it is unset, in upstream's words

    @property
    def fixed(self) -> str | None:
        """The value that the template itself gives; None where it must be filled in."""
        return None if self.template.startswith("${") else self.template


@dataclass(frozen=True)
class UpstreamModel:
    """One model as NVIDIA's template declares it; an ensemble without its steps."""

    model: Model
    scalars: frozenset[str]  # inputs with `reshape: { shape: [] }`
    parameters: dict[str, Parameter]


@cache
def read_upstream() -> dict[str, UpstreamModel]:
    """Every model by name; `llmapi` is the one model of NVIDIA's successor repository."""
    facts = json.loads((Path(__file__).parent / "upstream.json").read_text(encoding="utf-8"))
    return {name: _read_model(name, found) for name, found in facts["models"].items()}


def _read_model(name: str, found: dict[str, dict[str, dict[str, object]]]) -> UpstreamModel:
    inputs, outputs = (_tensors(found[side]) for side in ("inputs", "outputs"))
    return UpstreamModel(
        model=Model(name, inputs, outputs, decoupled=name == "tensorrt_llm"),
        scalars=frozenset(tensor for tensor, facts in found["inputs"].items() if facts.get("scalar")),
        parameters={
            key: Parameter(str(facts["template"]), str(facts["default"])) for key, facts in found["parameters"].items()
        },
    )


def _tensors(found: dict[str, dict[str, object]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name,
            cast("Dtype", _OPEN_DTYPES.get(str(facts["dtype"]), facts["dtype"])),
            tuple(cast("list[int]", facts["dims"])),
            optional=bool(facts.get("optional")),
            ragged=bool(facts.get("ragged")),
        )
        for name, facts in found.items()
    )
