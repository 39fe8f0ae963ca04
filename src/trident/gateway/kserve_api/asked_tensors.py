"""Tensors of the contract's ensemble, as a client of Triton sends them, read into a prompt and its sampling.

The inverse of `trident_client.request.build_request`, and strict: what is not the ensemble's is refused by name. It
knows neither protobuf nor JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from trident.contract import ENSEMBLE
from trident.contract import Tensor as Declared
from trident.errors import InvalidRequestError, UnsupportedParameterError, did_you_mean
from trident.gateway.kserve_api.tensors import Tensor
from trident_client.request import Prompt, TemplatePrompt
from trident_client.sampling import PARAMETERS, Sampling
from trident_client.tensor import Input

# Upstream the engine model takes it; the gateway's models do themselves, so that a client need not know of engines.
STOP = Declared("stop", "BOOL", ours=True)
# What upstream takes of whoever asks, and one server for several tenants cannot.
_ADAPTER = "clients bring no weights of their own; send lora_name, of an adapter that the server has"
_LOGITS = "they are as many numbers for each token as the vocabulary has; ask for top_logprobs"
_NOT_TAKEN = {
    "lora_task_id": _ADAPTER,
    "lora_weights": _ADAPTER,
    "lora_config": _ADAPTER,
    "prompt_embedding_table": "clients bring no weights of their own; leave it out",
}
_NOT_TRUE = {"return_context_logits": _LOGITS, "return_generation_logits": _LOGITS}
INPUTS = {tensor.name: tensor for tensor in (*ENSEMBLE.inputs, STOP) if tensor.name not in _NOT_TAKEN}
OUTPUTS = {tensor.name: tensor for tensor in ENSEMBLE.outputs if f"return_{tensor.name}" not in _NOT_TRUE}
_OLD_NAMES = {"random_seed": "seed", "min_length": "min_tokens"}
_PROMPTS = ("text_input", "messages", "prompt_template")


@dataclass(frozen=True, slots=True)
class AskedTensors:
    """One request for one completion."""

    prompt: Prompt
    sampling: Sampling  # asks for the counts of tokens in any case
    is_streaming: bool
    echo: str = ""  # what stands before a whole answer: the prompt, unless the client wants it left out
    unwanted: frozenset[str] = frozenset()  # outputs that upstream was asked for, and the client was not

    @property
    def num_sequences(self) -> int:
        """How many answers there will be."""
        return self.sampling.num_return_sequences or 1


def is_stop(tensors: Sequence[Tensor]) -> bool:
    """Whether this is no generation but the end of one: `stop` is true."""
    return any(tensor.name == STOP.name and True in tensor.values for tensor in tensors)


def input_of(name: str) -> Declared:
    """The input of that name.

    Raises:
        InvalidRequestError: there is none.
        UnsupportedParameterError: upstream has it, and the gateway does not take it.
    """
    if name in _NOT_TAKEN:
        raise _not_taken(name, _NOT_TAKEN[name])
    if name not in INPUTS:
        raise InvalidRequestError(f"unexpected input '{name}'{did_you_mean(name, INPUTS)}", param=name)
    return INPUTS[name]


def read_tensors(tensors: Sequence[Tensor], outputs: Sequence[str] = ()) -> AskedTensors:
    """The request that the tensors make; `outputs`: what is to be answered, everything when empty.

    Raises:
        InvalidRequestError: an unknown or repeated tensor, a wrong datatype or shape, a value out of range, no prompt.
        UnsupportedParameterError: something that Triton takes and the gateway cannot, several prompts for one.
    """
    values = _by_name(tensors)
    for output in outputs:
        if (why := _NOT_TRUE.get(f"return_{output}")) is not None:
            raise _not_taken(output, why)
        if output not in OUTPUTS:
            raise InvalidRequestError(f"unexpected output '{output}'{did_you_mean(output, OUTPUTS)}", param=output)
    prompt = _prompt(values)
    is_streaming = bool(values.get("stream", False))
    sampling = _sampling(values)
    wanted = outputs or OUTPUTS
    return AskedTensors(
        prompt,
        sampling,
        is_streaming,
        "" if is_streaming else _echo(prompt, values.get("exclude_input_in_output")),
        frozenset(
            name
            for name, is_asked in (
                ("num_input_tokens", values.get("return_num_input_tokens")),
                ("num_cached_tokens", values.get("return_num_input_tokens")),
                ("num_output_tokens", values.get("return_num_output_tokens")),
            )
            if not is_asked
        )
        | frozenset(name for name in OUTPUTS if name not in wanted),
    )


def _by_name(tensors: Sequence[Tensor]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for tensor in tensors:
        declared = input_of(tensor.name)
        name = _OLD_NAMES.get(declared.name, declared.name)
        if name in values:
            raise InvalidRequestError(f"{tensor.name} is given twice", param=tensor.name)
        values[name] = _value(tensor, declared)
    return {name: value for name, value in values.items() if value is not None}


def _value(tensor: Tensor, declared: Declared) -> Any:
    """A scalar or a tuple; None of an empty string, which is as good as not sent."""
    expected = "BYTES" if declared.dtype == "STRING" else declared.dtype
    if tensor.datatype != expected:
        raise InvalidRequestError(f"{tensor.name} must be {expected}, got {tensor.datatype}", param=tensor.name)
    _check_shape(tensor, declared)
    values = tuple(tensor.values)
    Input(declared.name, declared.dtype, values)  # types and ranges
    if declared.dims == (1,):
        is_empty = values[0] == "" and declared.name != "text_input"
        return None if is_empty else values[0]
    return values


def _check_shape(tensor: Tensor, declared: Declared) -> None:
    rows, dims = tensor.shape[:1], tensor.shape[1:]
    fits = len(dims) == len(declared.dims) and all(
        wanted in {-1, dim} for dim, wanted in zip(dims, declared.dims, strict=True)
    )
    if not rows or not fits:
        wanted = [1, *declared.dims]
        raise InvalidRequestError(
            f"{tensor.name} must have shape {wanted}, got {list(tensor.shape)}", param=tensor.name
        )
    if rows != (1,):
        raise UnsupportedParameterError(
            f"{tensor.name} has {rows[0]} rows; the gateway takes one prompt a request, so send each as its own",
            param=tensor.name,
        )


def _prompt(values: Mapping[str, Any]) -> Prompt:
    given = [name for name in _PROMPTS if values.get(name)]
    if len(given) > 1:
        raise InvalidRequestError(f"send {' or '.join(given)}, not both", param=given[1])
    if not given:
        text = "the prompt is empty" if "text_input" in values else "there is no prompt"
        raise InvalidRequestError(f"{text}; send text_input, messages or prompt_template", param="text_input")
    if "prompt_variables" in values and given != ["prompt_template"]:
        raise InvalidRequestError("prompt_variables need prompt_template", param="prompt_variables")
    if given == ["prompt_template"]:
        return TemplatePrompt(
            values["prompt_template"], _json("prompt_variables", values.get("prompt_variables", "{}"), dict)
        )
    if given == ["messages"]:
        messages: list[Any] = _json("messages", values["messages"], list)
        for number, message in enumerate(messages):
            if not isinstance(message, dict):
                raise InvalidRequestError(f"messages[{number}] must be an object", param=f"messages[{number}]")
        return messages
    return str(values["text_input"])


def _json(name: str, text: str, kind: type) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequestError(f"{name} is not valid JSON: {exc}", param=name) from exc
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "an object"
        raise InvalidRequestError(f"{name} must be JSON of {wanted}", param=name)
    return value


def _sampling(values: Mapping[str, Any]) -> Sampling:
    if "max_tokens" not in values:
        raise InvalidRequestError("max_tokens is missing; say how many tokens the answer may have", param="max_tokens")
    for name in ("max_tokens", "num_return_sequences"):
        if values.get(name, 1) < 1:
            raise InvalidRequestError(f"{name} must be at least 1, got {values[name]}", param=name)
    for name, why in _NOT_TRUE.items():
        if values.get(name):
            raise _not_taken(name, why)
    parameters = {name: value for name, value in values.items() if name in PARAMETERS}
    counts = {"return_num_input_tokens": True, "return_num_output_tokens": True}  # what limits are settled by
    return Sampling(**{**parameters, **counts, "exclude_input_in_output": True})


def _not_taken(name: str, why: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"the gateway takes no {name}: {why}", param=name)


def _echo(prompt: Prompt, exclude_input: bool | None) -> str:
    """Triton's ensemble repeats a plain prompt before a whole answer unless it is told not to."""
    if isinstance(prompt, str):
        return "" if exclude_input else prompt
    if exclude_input is False:
        raise UnsupportedParameterError(
            "exclude_input_in_output must be true with messages and templates, whose text the gateway does not see",
            param="exclude_input_in_output",
        )
    return ""
