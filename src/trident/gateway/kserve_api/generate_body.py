"""The body of `generate` and `generate_stream` to tensors and back: Triton's generate extension.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from trident.errors import InvalidRequestError
from trident.gateway.kserve_api.asked_tensors import input_of
from trident.gateway.kserve_api.infer_body import read_object
from trident.gateway.kserve_api.tensors import Tensor
from trident.gateway.kserve_api.version import MODEL_VERSION


def read_generate_body(body: bytes) -> tuple[str, list[Tensor]]:
    """The client's id of the request, and its tensors, which may lie in `parameters` too.

    Raises:
        InvalidRequestError: no JSON object, or one with a member that is no input of the ensemble.
        UnsupportedParameterError: an input that the gateway does not take.
    """
    given = read_object(body, (), "the body")
    request_id = given.pop("id", "")
    if not isinstance(request_id, str):
        raise InvalidRequestError("id must be a string", param="id")
    parameters = given.pop("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError("parameters must be a JSON object", param="parameters")
    members = [*given.items(), *parameters.items()]
    return request_id, [_tensor(name, value) for name, value in members]


def generate_answer(model: str, request_id: str, tensors: Sequence[Tensor]) -> bytes:
    """One answer as a JSON object: a single value as itself, several as a list."""
    answer: dict[str, Any] = {"model_name": model, "model_version": MODEL_VERSION}
    if request_id:
        answer["id"] = request_id
    for tensor in tensors:
        values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in tensor.values]
        answer[tensor.name] = values[0] if len(values) == 1 else values
    return orjson.dumps(answer)


def _tensor(name: str, value: Any) -> Tensor:
    declared = input_of(name)
    values = value if isinstance(value, list) else [value]
    datatype = "BYTES" if declared.dtype == "STRING" else declared.dtype
    return Tensor(name, datatype, (1, len(values)), values)
