"""The model `embedding`: what Triton has batched becomes one call of the encoder."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from trident.contract import EMBEDDING
from trident.embedding.encoder import Encoder
from trident.errors import InvalidRequestError, ManifestError
from trident.manifest import read_manifest
from trident.settings import EMBEDDING_VARIABLE
from trident.triton_adapter.requests import as_trident_error, input_arrays, outputs, request_parameters, to_triton_error
from trident.versions import holding


class EmbeddingModel:
    """Text to a vector. The engine directory is held, so that nobody clears it away while it is served."""

    def __init__(self, args: dict[str, str]) -> None:
        del args
        named = os.environ.get(EMBEDDING_VARIABLE)
        if not named:
            raise ManifestError(f"no embedding engine: set {EMBEDDING_VARIABLE}")
        directory = Path(named)
        self._held = ExitStack()
        self._held.enter_context(holding(directory))
        self._encoder = Encoder.of(directory, read_manifest(directory))
        self._encoder.warm_up()

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request, in their order; one that is wrong fails alone."""
        texts: list[str] = []
        parts: list[slice | Any] = []  # of `texts`, or an error response
        for request in requests:
            try:
                own = _texts(request)
            except Exception as exc:  # noqa: BLE001 - see as_trident_error
                parts.append(_failure(exc))
                continue
            parts.append(slice(len(texts), len(texts) + len(own)))
            texts += own
        try:
            found = self._encoder.encode(texts)
        except Exception as exc:  # noqa: BLE001 - see as_trident_error
            return [_failure(exc) if isinstance(part, slice) else part for part in parts]
        return [
            _response(found.vectors[part], found.num_tokens[part]) if isinstance(part, slice) else part
            for part in parts
        ]

    def finalize(self) -> None:
        """Let go of the engine directory."""
        self._held.close()


def _texts(request: Any) -> list[str]:
    request_parameters(request)
    array = input_arrays(request, EMBEDDING)["text"]
    try:
        return [text.decode("utf-8") for text in array.reshape(-1).tolist()]
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"text is not UTF-8: {exc.reason} at byte {exc.start}") from exc


def _response(vectors: Any, num_tokens: Any) -> Any:
    arrays = {"embedding": np.ascontiguousarray(vectors), "num_tokens": num_tokens.reshape(-1, 1)}
    return pb_utils.InferenceResponse(outputs(arrays))


def _failure(exc: Exception) -> Any:
    return pb_utils.InferenceResponse(error=to_triton_error(as_trident_error(exc)))
