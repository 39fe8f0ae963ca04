"""The steps of a scripted server's answer, and how each looks on either wire."""

import json
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


def values_of(request):
    """Input name -> list of values, decoded independently of the client's own code."""
    values = {}
    for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
        count = tensor.shape[-1]
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
