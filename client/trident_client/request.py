"""From a prompt to a request: pure functions, the same for gRPC, HTTP, sync and async."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trident.errors import InvalidRequestError
from trident_client.interface import TRIDENT, TRIDENT_ENGINE, ModelInterface
from trident_client.sampling import Sampling, input_of, inputs_of, to_json
from trident_client.tensor import Input, flattened


@dataclass(frozen=True, slots=True)
class TemplatePrompt:
    """A prompt template that the server knows, and its variables."""

    template: str  # name@version
    variables: Mapping[str, Any]


Messages = Sequence[Mapping[str, Any]]  # as in the OpenAI API
Prompt = str | Messages | TemplatePrompt  # raw text, or chat messages, or a named template

# What a stop request has to carry, of which nothing is read.
_MEANINGLESS = {"input_ids": 0, "input_lengths": 1, "request_output_len": 1, "text_input": ""}
# Older repositories require these; [""] means none.
_WORDS = ("stop_words", "bad_words")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one model; what a transport sends."""

    id: str
    model: str
    inputs: tuple[Input, ...]
    is_streaming: bool  # whether several responses are expected
    headers: tuple[tuple[str, str], ...] = ()  # beside those of the connection


def build_request(
    request_id: str,
    model: str,
    prompt: Prompt,
    sampling: Sampling,
    *,
    is_streaming: bool,
    interface: ModelInterface = TRIDENT,
    headers: tuple[tuple[str, str], ...] = (),
) -> Request:
    """A request to an ensemble, or to a model like one, for the completion of `prompt`.

    Raises:
        InvalidRequestError: a value that its tensor cannot hold, or messages that are not JSON.
        UnsupportedParameterError: something that the model has no input for.
    """
    is_streaming = is_streaming and interface.is_decoupled
    inputs = [
        *(input_of(interface, name, value) for name, value in _prompt_inputs(prompt).items()),
        *([input_of(interface, "stream", is_streaming)] if interface.input_of("stream") else ()),
        *inputs_of(sampling, interface),
    ]
    if "return_finish_reason" in interface.inputs:
        inputs.append(input_of(interface, "return_finish_reason", True))
    sent = {tensor.name for tensor in inputs}
    inputs += [input_of(interface, name, "") for name in _WORDS if name in interface.required and name not in sent]
    return Request(request_id, model, tuple(inputs), is_streaming or _num_sequences(sampling) > 1, headers)


def build_cancel(request_id: str, engine_model: str, interface: ModelInterface = TRIDENT_ENGINE) -> Request:
    """A request that ends the running one of the same id; the engine answers with an empty final response.

    It goes to the engine model because Triton passes no cancel through an ensemble. The engine's
    required tensors hold one meaningless token.
    """
    values = {name: value for name, value in _MEANINGLESS.items() if name in interface.inputs}
    inputs = tuple(input_of(interface, name, value) for name, value in {**values, "stop": True}.items())
    return Request(request_id, engine_model, inputs, is_streaming=True)


def _num_sequences(sampling: Sampling) -> int:
    """Each is a response of its own, of which `generate` over HTTP cannot carry two."""
    values, _ = flattened("num_return_sequences", sampling.num_return_sequences or 1)
    return int(max(values))


def _prompt_inputs(prompt: Prompt) -> dict[str, str]:
    if isinstance(prompt, str):
        return {"text_input": prompt}
    if isinstance(prompt, TemplatePrompt):
        variables = to_json("variables", dict(prompt.variables))
        return {"prompt_template": prompt.template, "prompt_variables": variables}
    try:
        messages = list(prompt)
    except TypeError as exc:
        raise InvalidRequestError(f"the prompt is neither text nor a list of chat messages: {exc}") from exc
    return {"messages": to_json("messages", messages)}
