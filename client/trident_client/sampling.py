"""How the answer is made and told: the parameters of a request beside its prompt.

A field is named as its tensor and has the tensor's dtype in `trident.contract`; that is the one table.
A parameter that is None is not sent, and the server's default holds (greedy).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from trident.contract import ENSEMBLE
from trident.errors import InvalidRequestError, did_you_mean
from trident_client.interface import TRIDENT, ModelInterface
from trident_client.tensor import Input, dtypes_of, flattened

DEFAULT_MAX_TOKENS = 128
Matrix = Sequence[Sequence[float]]  # or a numpy array


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of a request. Values are checked against their dtypes when a request is built."""

    max_tokens: int = DEFAULT_MAX_TOKENS
    min_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    num_return_sequences: int | None = None
    beam_width: int | None = None
    length_penalty: float | None = None  # of beams
    stop_words: str | Sequence[str] = ()
    bad_words: str | Sequence[str] = ()
    embedding_bias_words: str | Sequence[str] = ()
    embedding_bias_weights: Sequence[float] = ()
    end_id: int | None = None
    pad_id: int | None = None
    exclude_input_in_output: bool | None = True
    return_num_input_tokens: bool | None = True
    return_num_output_tokens: bool | None = True
    return_log_probs: bool | None = None
    top_logprobs: int | None = None
    return_perf_metrics: bool | None = None
    return_context_logits: bool | None = None  # gRPC only, as is every parameter that is a matrix
    return_generation_logits: bool | None = None
    skip_special_tokens: bool | None = None
    truncate: str | None = None
    tools: Any = None  # a list as in the OpenAI API
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template_kwargs: Any = None  # an object
    guided_decoding_guide_type: str | None = None
    guided_decoding_guide: Any = None  # text; or an object, for a schema or a structural tag
    lora_name: str | None = None
    lora_task_id: int | None = None
    lora_weights: Matrix | None = None
    lora_config: Matrix | None = None
    decoder_text_input: str | None = None
    prompt_embedding_table: Matrix | None = None
    prompt_vocab_size: int | None = None
    prompt_table_extra_id: int | None = None
    cache_salt: str | None = None
    timeout_ms: int | None = None
    priority: int | None = None


_JSON = frozenset({"tools", "chat_template_kwargs", "guided_decoding_guide"})
# parameter -> dtype of the tensor of that name
PARAMETERS = {field.name: dtypes_of(ENSEMBLE)[field.name] for field in fields(Sampling)}
_DEFAULTS = Sampling()


def sampling_of(base: Sampling | None, parameters: Mapping[str, Any]) -> Sampling:
    """`base` (default: all defaults) with the named parameters changed.

    Raises:
        InvalidRequestError: an unknown name; says the nearest known one.
    """
    for name in parameters:
        if name not in PARAMETERS:
            raise InvalidRequestError(f"unknown sampling parameter '{name}'{did_you_mean(name, PARAMETERS)}")
    base = base or _DEFAULTS
    return replace(base, **parameters) if parameters else base


def to_json(name: str, value: Any) -> str:
    """`value` as JSON.

    Raises:
        InvalidRequestError: it holds something that JSON does not know.
    """
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(f"{name} cannot be written as JSON: {exc}") from exc


def inputs_of(sampling: Sampling, interface: ModelInterface = TRIDENT) -> list[Input]:
    """The tensors of every parameter that is set; a lone string counts as a list of one word.

    Raises:
        InvalidRequestError: a value that its tensor cannot hold.
        UnsupportedParameterError: the model has no such input. One that stands at its default is left out instead.
    """
    inputs = []
    for name in PARAMETERS:
        value = getattr(sampling, name)
        if value is None or (isinstance(value, Sequence) and not isinstance(value, str) and not value):
            continue
        if interface.input_of(name) is None and value == getattr(_DEFAULTS, name):
            continue
        if name in _JSON and not isinstance(value, str):
            value = to_json(name, value)
        inputs.append(input_of(interface, name, value))
    return inputs


def input_of(interface: ModelInterface, name: str, value: Any) -> Input:
    """The tensor that the model has for what Trident calls `name`; errors as of `inputs_of`."""
    their_name = interface.has_to_take(name)
    values, dims = flattened(name, value)
    return Input(their_name, interface.inputs[their_name], values, dims, interface.is_batched)
