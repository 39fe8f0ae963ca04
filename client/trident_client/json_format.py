"""Requests and responses as the JSON of Triton's generate extension: pure functions.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trident.errors import UnsupportedParameterError
from trident_client.completion import PERF_METRICS, Beam, Delta, PerfMetrics
from trident_client.embedding import Embeddings
from trident_client.request import Request

# sent as lists even when they hold one word
_ROWS = frozenset({"stop_words", "bad_words", "sampling_param_stop", "embedding_bias_words", "embedding_bias_weights"})


def to_body(request: Request) -> bytes:
    """The request as the body of a `generate` or `generate_stream` call.

    Raises:
        UnsupportedParameterError: a matrix, which the extension has no form for.
    """
    body: dict[str, Any] = {"id": request.id}
    for tensor in request.inputs:
        if tensor.dims:
            raise UnsupportedParameterError(f"{tensor.name} is a matrix, which `generate` cannot carry; use gRPC")
        body[tensor.name] = list(tensor.values) if tensor.name in _ROWS else tensor.values[0]
    return json.dumps(body, ensure_ascii=False).encode("utf-8")


@dataclass(slots=True)
class EventSplitter:
    """Cuts a byte stream of server-sent events into their `data:` payloads, wherever the pieces were cut.

    Triton puts each event's JSON on one line, so a line is an event. Other lines are comments of a gateway.
    """

    rest: bytes = b""  # the beginning of a line whose end has not come

    def feed(self, piece: bytes) -> list[bytes]:
        """The payloads that `piece` completes."""
        *lines, self.rest = (self.rest + piece).split(b"\n")
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


def to_object(payload: bytes) -> dict[str, Any]:
    """The JSON object in a body or an event; broken UTF-8 becomes U+FFFD.

    Raises:
        ValueError: it is not a JSON object.
    """
    value = json.loads(payload.decode("utf-8", "replace"))
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")  # noqa: TRY004 - see Raises
    return value


def error_text(answer: dict[str, Any]) -> str:
    """What the `error` of an answer says; a gateway in OpenAI's manner makes an object of it."""
    error = answer["error"]
    return str(error.get("message", error) if isinstance(error, dict) else error)


def to_infer_body(request: Request) -> bytes:
    """The request as the body of KServe v2's `infer`."""
    inputs = [
        {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": "BYTES" if tensor.dtype == "STRING" else tensor.dtype,
            "data": tensor.values,
        }
        for tensor in request.inputs
    ]
    return json.dumps({"id": request.id, "inputs": inputs}, ensure_ascii=False).encode("utf-8")


def to_outputs(response: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Every output in an answer of `infer`, row-major; texts as bytes.

    Raises:
        ValueError: it is no such answer.
    """
    try:
        return {
            output["name"]: tuple(
                value.encode() if output["datatype"] == "BYTES" else value for value in output["data"]
            )
            for output in response["outputs"]
        }
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"the answer is none of `infer`: {exc}") from exc


def to_embeddings(response: dict[str, Any]) -> Embeddings:
    """The vectors in an answer of `infer`.

    Raises:
        ValueError: an output is missing, or is not what its name says.
    """
    import numpy as np  # noqa: PLC0415 - only who asks for vectors waits for it

    try:
        named = {output["name"]: output for output in response["outputs"]}
        embedding = named["embedding"]
        vectors = np.array(embedding["data"], np.float32).reshape(embedding["shape"])
        return Embeddings(vectors, tuple(named["num_tokens"]["data"]))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"the answer is none of `infer`: {exc}") from exc


def to_delta(response: dict[str, Any]) -> Delta | None:
    """The delta in one response, or None when it carries no text. Unknown outputs are left unread.

    Raises:
        ValueError: an output that is not what its name says.
    """
    if "text_output" not in response:
        return None
    try:
        values = {field: read(response[name]) for name, (field, read) in _FIELDS.items() if name in response}
        perf_metrics = {name: _number(response[name]) for name in PERF_METRICS if name in response}
    except (TypeError, KeyError, IndexError) as exc:
        raise ValueError(f"an output has another form than its name says: {exc}") from exc
    texts = response["text_output"]
    if isinstance(texts, list) and len(texts) > 1:
        scores = _row(response.get("cum_log_probs", [None] * len(texts)))
        values["beams"] = tuple(Beam(text, score) for text, score in zip(texts, scores, strict=False))
    for field in ("top_ids", "top_log_probs"):  # [tokens, top_logprobs], of which the form tells nothing
        row, num_tokens = response.get(field, ()), len(values.get("log_probs", ()))
        if row and num_tokens:
            width = len(row) // num_tokens
            values[field] = tuple(tuple(row[at : at + width]) for at in range(0, len(row), width))
    if perf_metrics:
        values["perf_metrics"] = PerfMetrics(**perf_metrics)
    return Delta(str(_first(texts)), **values)


def _first(value: Any) -> Any:
    """Triton sends one element as a scalar and several as a list."""
    return value[0] if isinstance(value, list) else value


def _row(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _number(value: Any) -> Any:
    """NVIDIA's LLM API model sends its numbers as text."""
    value = _first(value)
    return json.loads(value) if isinstance(value, str) else value


def _finish_reason(value: Any) -> str:
    value = _first(value)
    return "" if value == "None" else str(value)  # NVIDIA's LLM API model: of a sequence that goes on


def _log_prob(value: Any) -> float | None:
    return None if _first(value) == "None" else _number(value)


# output -> field of Delta, and how it is read from JSON
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "finish_reason": ("finish_reason", _finish_reason),
    "num_input_tokens": ("num_input_tokens", _first),
    "num_output_tokens": ("num_output_tokens", _first),
    "num_cached_tokens": ("num_cached_tokens", _first),
    "batch_index": ("batch_index", _first),
    "sequence_index": ("sequence_index", _first),
    "reasoning_output": ("reasoning", _first),
    "tool_calls": ("tool_calls", lambda value: tuple(json.loads(_first(value)))),
    "output_log_probs": ("log_probs", lambda value: tuple(_row(value))),
    "cum_log_probs": ("cum_log_prob", _first),
    "cumulative_logprob": ("cum_log_prob", _log_prob),
    # Triton writes them as text, so that what is no whole character is lost; gRPC keeps it.
    "token_texts": ("token_texts", lambda value: tuple(text.encode() for text in _row(value))),
    "report": ("report", lambda value: json.loads(_first(value))),
}
