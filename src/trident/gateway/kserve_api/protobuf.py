"""KServe v2's protobuf messages to tensors and back: pure functions.

https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritonclient.grpc import service_pb2

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.kserve_api.tensors import Tensor, of_values, pack, unpack
from trident.gateway.kserve_api.version import MODEL_VERSION

FINAL = "triton_final_response"
EMPTY_FINAL = "triton_enable_empty_final_response"
_CONTENTS = {
    "BOOL": "bool_contents", "INT32": "int_contents", "INT64": "int64_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def read_message(message: Any) -> tuple[list[Tensor], list[str]]:
    """The inputs and the names of the outputs of a `ModelInferRequest`.

    Raises:
        InvalidRequestError: it does not hold what it says.
        UnsupportedParameterError: tensors that lie in shared memory, a parameter that the gateway does not know.
    """
    for name in message.parameters:
        if name != EMPTY_FINAL:
            raise _unknown(name)
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise InvalidRequestError(f"{len(message.inputs)} inputs have {len(raws)} raw contents; send one each")
    tensors = [_tensor(each, raws[number] if raws else None) for number, each in enumerate(message.inputs)]
    for output in message.outputs:
        for name in output.parameters:
            raise _unknown(f"{output.name}.{name}")
    return tensors, [output.name for output in message.outputs]


def wants_empty_final(message: Any) -> bool:
    """Whether a last response without data is to be sent, where the last with data was not known to be the last."""
    return EMPTY_FINAL in message.parameters and message.parameters[EMPTY_FINAL].bool_param


def response_of(message: Any, tensors: Sequence[Tensor], *, is_last: bool | None = None) -> Any:
    """A `ModelInferResponse` to that request; `is_last`: whether to say that it is the last, None of a lone one."""
    response = service_pb2.ModelInferResponse(
        model_name=message.model_name,
        model_version=MODEL_VERSION,
        id=message.id,
        raw_output_contents=[pack(tensor) for tensor in tensors],
    )
    for tensor in tensors:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    if is_last is not None:
        response.parameters[FINAL].bool_param = is_last
    return response


def _tensor(given: Any, raw: bytes | None) -> Tensor:
    for name in given.parameters:
        raise _unknown(f"{given.name}.{name}")
    shape = tuple(given.shape)
    if raw is not None:
        return unpack(given.name, given.datatype, shape, raw)
    if given.datatype not in _CONTENTS:
        raise InvalidRequestError(f"{given.name}: send {given.datatype or 'a tensor'} in raw_input_contents")
    values = list(getattr(given.contents, _CONTENTS[given.datatype]))
    if given.datatype == "BYTES":
        values = [_text(given.name, value) for value in values]
    return of_values(given.name, given.datatype, shape, values)


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"{name} is not UTF-8 at byte {exc.start}; send valid text", param=name) from exc


def _unknown(name: str) -> UnsupportedParameterError:
    return UnsupportedParameterError(f"the gateway does not take the parameter '{name}'; leave it out", param=name)
