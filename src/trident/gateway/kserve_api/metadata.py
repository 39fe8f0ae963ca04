"""What the gateway says of itself and of its models: KServe v2 metadata, the same over HTTP and gRPC.

A model is a route, and its tensors are the contract's whatever stands behind it: the client speaks to upstream's own.
"""

from __future__ import annotations

from typing import Any

from trident import __version__
from trident.contract import Tensor
from trident.gateway.kserve_api.asked_tensors import INPUTS, OUTPUTS
from trident.gateway.kserve_api.version import MODEL_VERSION

SERVER = {"name": "trident-gateway", "version": __version__, "extensions": ["binary_tensor_data", "generate"]}


def model_metadata(model: str) -> dict[str, Any]:
    """As KServe's `$metadata_model_response`. The first dimension is 1: a request has one prompt."""
    return {
        "name": model,
        "versions": [MODEL_VERSION],
        "platform": "ensemble",
        "inputs": [_described(tensor) for tensor in INPUTS.values()],
        "outputs": [_described(tensor) for tensor in OUTPUTS.values()],
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    datatype = "BYTES" if tensor.dtype == "STRING" else tensor.dtype
    return {"name": tensor.name, "datatype": datatype, "shape": [1, *tensor.dims]}
