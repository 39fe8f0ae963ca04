"""What a model takes and gives, as its server describes it: so that one client speaks to several repositories.

Trident's own is the contract; NVIDIA's `inflight_batcher_llm` and `llmapi` differ from it in names, dtypes and
shapes. Pure functions of what the server answered; it knows nothing of how it was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from trident.contract import ENGINE, ENSEMBLE, POSTPROCESSING, PREPROCESSING, Dtype, Model
from trident.errors import UnsupportedParameterError
from trident_client.tensor import WireDtype

# our name -> what the same thing is called elsewhere: TensorRT-LLM before 0.20, its engine model, its LLM API model
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "seed": ("random_seed",),
    "min_tokens": ("min_length",),
    "max_tokens": ("request_output_len",),
    "top_k": ("runtime_top_k",),
    "top_p": ("runtime_top_p",),
    "length_penalty": ("len_penalty",),
    "stream": ("streaming",),
    "stop_words": ("sampling_param_stop",),
    "exclude_input_in_output": ("sampling_param_exclude_input_from_output",),
}
_DTYPES = (*get_args(Dtype), "UINT32")


@dataclass(frozen=True, slots=True)
class ModelInterface:
    """One model's tensors, and how it answers."""

    name: str
    inputs: Mapping[str, WireDtype]
    outputs: frozenset[str]
    required: frozenset[str] = frozenset()
    is_batched: bool = True  # whether tensors have a batch dimension
    is_decoupled: bool = True  # whether a request may have several responses
    steps: tuple[str, ...] = ()  # an ensemble's models
    is_told: bool = True  # by the server; else it is what Trident's would be, and the answer may be another's

    @property
    def is_cumulative(self) -> bool:
        """Whether each response of a stream holds the whole text so far, as NVIDIA's LLM API model answers."""
        return "sampling_param_max_tokens" in self.inputs

    @property
    def has_finish_reason(self) -> bool:
        """Whether a sequence that has ended always says why."""
        return self.is_told and "finish_reason" in self.outputs

    @property
    def engine(self) -> str:
        """The model that takes `stop`: itself, or the step of the ensemble that is not about text."""
        if "stop" in self.inputs:
            return self.name
        if ENGINE.name in self.steps:
            return ENGINE.name
        return next((name for name in self.steps if name not in _TEXT_STEPS), ENGINE.name)

    def input_of(self, name: str) -> str | None:
        """What the model calls the input that Trident calls `name`; None: it has none such."""
        if name in self.inputs:
            return name
        names = (*_OTHER_NAMES.get(name, ()), f"sampling_param_{name}")
        return next((candidate for candidate in names if candidate in self.inputs), None)

    def has_to_take(self, name: str) -> str:
        """Likewise, of something that cannot be left out.

        Raises:
            UnsupportedParameterError: the model has no such input.
        """
        found = self.input_of(name)
        if found is None:
            raise UnsupportedParameterError(f"model '{self.name}' takes no {name}; leave it out")
        return found


_TEXT_STEPS = frozenset({PREPROCESSING.name, POSTPROCESSING.name})


def interface_of(model: Model) -> ModelInterface:
    """Of a model of the contract."""
    return ModelInterface(
        model.name,
        {tensor.name: tensor.dtype for tensor in model.inputs},
        frozenset(tensor.name for tensor in model.outputs),
        frozenset(tensor.name for tensor in model.inputs if not tensor.optional),
        steps=tuple(step.model for step in model.steps),
    )


def read_config(config: Mapping[str, Any]) -> ModelInterface:
    """From Triton's model configuration as JSON.

    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md
    """
    inputs = config.get("input", ())
    steps = config.get("ensemble_scheduling", {}).get("step", ())
    return ModelInterface(
        str(config.get("name", "")),
        _dtypes({tensor["name"]: str(tensor.get("data_type", "")).removeprefix("TYPE_") for tensor in inputs}),
        frozenset(tensor["name"] for tensor in config.get("output", ())),
        frozenset(tensor["name"] for tensor in inputs if not tensor.get("optional")),
        int(config.get("max_batch_size", 0)) > 0,
        bool(config.get("model_transaction_policy", {}).get("decoupled")),
        tuple(str(step["model_name"]) for step in steps),
    )


def read_metadata(metadata: Mapping[str, Any]) -> ModelInterface:
    """From KServe v2 metadata, where the configuration may not be read; what it does not tell is as in Trident.

    https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
    """
    inputs = metadata.get("inputs", ())
    shapes = {tensor["name"]: tensor.get("shape", ()) for tensor in inputs}
    return ModelInterface(
        str(metadata.get("name", "")),
        _dtypes({tensor["name"]: str(tensor.get("datatype", "")) for tensor in inputs}),
        frozenset(tensor["name"] for tensor in metadata.get("outputs", ())),
        is_batched=len(shapes.get("text_input", (1, 1))) > 1,
    )


def _dtypes(named: Mapping[str, str]) -> dict[str, WireDtype]:
    """Inputs of a dtype that this client does not know are left out; it has nothing to send there."""
    known = {name: "STRING" if dtype == "BYTES" else dtype for name, dtype in named.items()}
    return {name: cast("WireDtype", dtype) for name, dtype in known.items() if dtype in _DTYPES}


TRIDENT = interface_of(ENSEMBLE)
TRIDENT_ENGINE = interface_of(ENGINE)
