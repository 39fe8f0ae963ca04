"""Text to a vector. See trident.triton_adapter.embedding."""

from __future__ import annotations

from typing import Any

from trident.triton_adapter.embedding import EmbeddingModel


class TritonPythonModel:
    """What Triton's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Called once when the model is loaded."""
        self._model = EmbeddingModel(args)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Called with one or more requests."""
        return self._model.execute(requests)

    def finalize(self) -> None:
        """Called once when the model is unloaded."""
        self._model.finalize()
