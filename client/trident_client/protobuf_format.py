"""Requests and responses as KServe v2 protobuf messages: pure functions.

Tensors travel in `raw_input_contents` and `raw_output_contents`, little-endian, strings with a
four-byte length before them
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import codecs
import json
import struct
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from tritonclient.grpc import service_pb2

from trident_client.completion import PERF_METRICS, Beam, Delta, PerfMetrics
from trident_client.embedding import Embeddings
from trident_client.request import Request
from trident_client.tensor import WireDtype

_STRUCT_CODES: dict[WireDtype, str] = {
    "BOOL": "?", "INT32": "i", "UINT32": "I", "INT64": "q", "UINT64": "Q", "FP16": "e", "FP32": "f",
}  # fmt: skip
_FINAL = "triton_final_response"

# sequence index -> decoder that holds an incomplete UTF-8 character back until the next response completes it;
# Trident's own server sends whole characters, NVIDIA's C++ postprocessing cuts them
Decoders = defaultdict[int, codecs.IncrementalDecoder]


def new_decoders() -> Decoders:
    """The decoders of one stream; broken UTF-8 becomes U+FFFD."""
    return defaultdict(partial(codecs.getincrementaldecoder("utf-8"), "replace"))


def to_message(request: Request) -> Any:
    """The request as a `ModelInferRequest`."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.id)
    # Without it the end of a stream whose last response carries no data would not be told.
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    for tensor in request.inputs:
        datatype = "BYTES" if tensor.dtype == "STRING" else tensor.dtype
        message.inputs.add(name=tensor.name, datatype=datatype, shape=tensor.shape)
        message.raw_input_contents.append(_pack(tensor.dtype, tensor.values))
    return message


def is_final(response: Any) -> bool:
    """Whether a `ModelInferResponse` is the last of its request."""
    return _FINAL in response.parameters and response.parameters[_FINAL].bool_param


def to_delta(response: Any, decoders: Decoders, *, is_last: bool | None = None) -> Delta | None:
    """The delta in a `ModelInferResponse`, or None when it carries no tensors. Unknown outputs are left unread.

    `is_last`: what `is_final` says, for those who know it already.

    Raises:
        ValueError: an output that is not what its name says.
    """
    outputs, raws = response.outputs, response.raw_output_contents
    if not outputs:
        return None
    if is_last is False and len(outputs) == len(raws) == 1 and outputs[0].name == "text_output":  # nearly all
        raw = raws[0]
        if len(raw) == 4 + int.from_bytes(raw[:4], "little"):
            return Delta(decoders[0].decode(raw[4:]))
    values: dict[str, Any] = {}
    try:
        for output, raw in zip(outputs, raws, strict=True):
            field, read = _READERS.get(output.name, _UNREAD)
            if read is not None:
                values[field] = read(output, raw)
    except (struct.error, IndexError) as exc:
        raise ValueError(f"an output has another form than its name says: {exc}") from exc
    texts, scores = values.pop("text", b""), values.pop("cum_log_probs", ())
    end = 4 + int.from_bytes(texts[:4], "little")
    if len(texts) > end:
        values["beams"] = _beams(texts, scores)
    if scores:
        values["cum_log_prob"] = scores[0]
    if perf_metrics := {name: values.pop(name) for name in PERF_METRICS if name in values}:
        values["perf_metrics"] = PerfMetrics(**perf_metrics)
    decoder = decoders[values.get("sequence_index", 0)]
    return Delta(decoder.decode(texts[4:end], is_final(response) if is_last is None else is_last), **values)


def to_outputs(response: Any) -> dict[str, tuple[Any, ...]]:
    """Every output of a `ModelInferResponse`, row-major; texts as bytes.

    Raises:
        ValueError: an output has another form than its datatype says.
    """
    try:
        return {
            output.name: _all_bytes(output, raw)
            if output.datatype == "BYTES"
            else tuple(value for (value,) in struct.iter_unpack("<" + _STRUCT_CODES[output.datatype], raw))
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
    except (struct.error, KeyError) as exc:
        raise ValueError(f"an output has another form than its datatype says: {exc}") from exc


def to_embeddings(response: Any) -> Embeddings:
    """The vectors in a `ModelInferResponse`.

    Raises:
        ValueError: an output is missing, or is not what its name says.
    """
    import numpy as np  # noqa: PLC0415 - only who asks for vectors waits for it

    try:
        pairs = zip(response.outputs, response.raw_output_contents, strict=True)
        raw = {output.name: (output, raw) for output, raw in pairs}
        (embedding, values), (_, counts) = raw["embedding"], raw["num_tokens"]
    except KeyError as exc:
        raise ValueError(f"the answer has no output {exc}") from exc
    vectors = np.frombuffer(values, "<f4").reshape(tuple(embedding.shape))
    return Embeddings(vectors, tuple(np.frombuffer(counts, "<i4").tolist()))


def _beams(texts: bytes, scores: tuple[float, ...]) -> tuple[Beam, ...]:
    found = _all_bytes(None, texts)
    missing = [None] * (len(found) - len(scores))
    return tuple(
        Beam(text.decode("utf-8", "replace"), score) for text, score in zip(found, [*scores, *missing], strict=False)
    )


def _pack(dtype: WireDtype, values: tuple[Any, ...]) -> bytes:
    if dtype == "STRING":
        encoded = [value.encode("utf-8") for value in values]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
    return struct.pack(f"<{len(values)}{_STRUCT_CODES[dtype]}", *values)


def _first_bytes(raw: bytes) -> bytes:
    return raw[4 : 4 + int.from_bytes(raw[:4], "little")]


def _first_string(_output: Any, raw: bytes) -> str:
    return _first_bytes(raw).decode("utf-8", "replace")


def _finish_reason(_output: Any, raw: bytes) -> str:
    text = _first_bytes(raw).decode("utf-8", "replace")
    return "" if text == "None" else text  # NVIDIA's LLM API model: of a sequence that goes on


def _first_int32(_output: Any, raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little", signed=True)


def _all_bytes(_output: Any, raw: bytes) -> tuple[bytes, ...]:
    elements, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        elements.append(raw[start + 4 : end])
        start = end
    return tuple(elements)


def _all_fp32(_output: Any, raw: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def _number(output: Any, raw: bytes) -> Any:
    if output.datatype == "BYTES":  # NVIDIA's LLM API model sends its numbers as text
        text = _first_bytes(raw).decode("utf-8", "replace")
        return None if text == "None" else json.loads(text)
    return struct.unpack_from("<" + _STRUCT_CODES[output.datatype], raw)[0]


def _rows(output: Any, raw: bytes) -> tuple[tuple[Any, ...], ...]:
    """Of a tensor [..., rows, columns], as many rows as there are."""
    return tuple(struct.iter_unpack(f"<{output.shape[-1]}{_STRUCT_CODES[output.datatype]}", raw)) if raw else ()


def _array(output: Any, raw: bytes) -> Any:
    """Without the batch dimension; logits are many, so they stay in an array."""
    import numpy as np  # noqa: PLC0415 - only who asks for logits waits for it

    dtype = np.float16 if output.datatype == "FP16" else np.float32
    return np.frombuffer(raw, dtype).reshape(tuple(output.shape)[1:])


_UNREAD: tuple[str, None] = ("", None)
# output -> field of Delta, or what it is made of, and how the tensor is read
_READERS: dict[str, tuple[str, Callable[[Any, bytes], Any]]] = {
    "text_output": ("text", lambda _, raw: raw),
    "finish_reason": ("finish_reason", _finish_reason),
    "num_input_tokens": ("num_input_tokens", _first_int32),
    "num_output_tokens": ("num_output_tokens", _first_int32),
    "num_cached_tokens": ("num_cached_tokens", _first_int32),
    "batch_index": ("batch_index", _first_int32),
    "sequence_index": ("sequence_index", _first_int32),
    "reasoning_output": ("reasoning", _first_string),
    "tool_calls": ("tool_calls", lambda _, raw: tuple(json.loads(_first_bytes(raw)))),
    "output_log_probs": ("log_probs", _all_fp32),
    "cum_log_probs": ("cum_log_probs", _all_fp32),  # of each beam
    "cumulative_logprob": ("cum_log_prob", _number),  # of NVIDIA's LLM API model
    "token_texts": ("token_texts", _all_bytes),
    "top_ids": ("top_ids", _rows),
    "top_log_probs": ("top_log_probs", _rows),
    "context_logits": ("context_logits", _array),
    "generation_logits": ("generation_logits", _array),
    "report": ("report", lambda _, raw: json.loads(_first_bytes(raw))),
    **{name: (name, _number) for name in PERF_METRICS},
}
