"""The steps of a scripted server's answer, and how each looks on either wire."""

import json
import math
import struct
from dataclasses import dataclass, field

from tritonclient.grpc import service_pb2

CODES = {"BOOL": "?", "INT32": "i", "UINT32": "I", "INT64": "q", "UINT64": "Q", "FP16": "e", "FP32": "f"}


@dataclass(frozen=True)
class Say:
    """One response."""

    text: str | bytes
    finish_reason: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    is_final: bool | None = None  # the end flag; by default it goes with a finish reason
    for_request: str = ""  # another's id, by mistake


@dataclass(frozen=True)
class Refuse:
    """A failure with a status, before anything else."""

    grpc_status: str
    http_status: int
    text: str


@dataclass(frozen=True)
class Complain:
    """A failure told in the body of a success."""

    text: str


@dataclass(frozen=True)
class Embed:
    """The answer to a request for embeddings: a row for each text."""

    rows: tuple[tuple[float, ...], ...]
    num_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Die:
    """The connection breaks."""


@dataclass(frozen=True)
class Vanish:
    """gRPC: nothing is answered any more, not even by the connection, as when a machine is cut off."""


@dataclass(frozen=True)
class Hang:
    """Nothing comes until the request is cancelled or the test is over."""


def as_head(status, length):
    return f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()


def as_json(step):
    if not isinstance(step, Say):
        return json.dumps({"error": step.text}).encode()
    body = {"model_name": "ensemble", "text_output": "@", "finish_reason": step.finish_reason, **step.counts}
    text = step.text if isinstance(step.text, bytes) else step.text.encode()
    return json.dumps(body).encode().replace(b"@", text)


def as_message(request, step, *, outputs=True):
    message = service_pb2.ModelStreamInferResponse()
    response = message.infer_response
    response.id, response.model_name = step.for_request or request.id, request.model_name
    is_final = bool(step.finish_reason) if step.is_final is None else step.is_final
    response.parameters["triton_final_response"].bool_param = is_final
    if outputs:
        text = step.text if isinstance(step.text, bytes) else step.text.encode()
        for name, value in (("finish_reason", step.finish_reason.encode()), ("text_output", text)):
            response.outputs.add(name=name, datatype="BYTES", shape=[1])
            response.raw_output_contents.append(struct.pack("<I", len(value)) + value)
        for name, count in {**step.counts, "an_output_of_tomorrow": 7}.items():
            response.outputs.add(name=name, datatype="INT32", shape=[1, 1])
            response.raw_output_contents.append(struct.pack("<i", count))
    return message


def as_infer_message(request, step):
    response = service_pb2.ModelInferResponse(id=request.id, model_name=request.model_name)
    if isinstance(step, Embed):
        values = [value for row in step.rows for value in row]
        response.outputs.add(name="embedding", datatype="FP32", shape=[len(step.rows), len(step.rows[0])])
        response.raw_output_contents.append(struct.pack(f"<{len(values)}f", *values))
        response.outputs.add(name="num_tokens", datatype="INT32", shape=[len(step.rows), 1])
        response.raw_output_contents.append(struct.pack(f"<{len(step.rows)}i", *step.num_tokens))
    return response


def as_infer_json(step):
    if not isinstance(step, Embed):
        return json.dumps({"error": step.text} if isinstance(step, Refuse) else {"outputs": []}).encode()
    shape = [len(step.rows), len(step.rows[0])]
    values = [value for row in step.rows for value in row]
    outputs = [
        {"name": "num_tokens", "datatype": "INT32", "shape": [shape[0], 1], "data": list(step.num_tokens)},
        {"name": "embedding", "datatype": "FP32", "shape": shape, "data": values},
    ]
    return json.dumps({"model_name": "embedding", "outputs": outputs}).encode()


def values_of(request):
    """Input name -> list of values, decoded independently of the client's own code."""
    values = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        count = math.prod(tensor.shape)
        if tensor.datatype != "BYTES":
            values[tensor.name] = list(struct.unpack(f"<{count}{CODES[tensor.datatype]}", raw))
            continue
        words, rest = [], raw
        while rest:
            (length,) = struct.unpack_from("<I", rest)
            words.append(rest[4 : 4 + length].decode())
            rest = rest[4 + length :]
        assert len(words) == count
        values[tensor.name] = words
    return values
