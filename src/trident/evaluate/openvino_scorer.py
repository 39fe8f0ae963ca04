"""An engine of kind `openvino` as a Scorer: its own IR on its own device, all positions at once.

OpenVINO GenAI gives log-probabilities of generated tokens only, so the model is run without it. Weights and kernels are
the engine's; its KV cache is not, whose precision the paged attention of the server chooses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

from trident.errors import ManifestError
from trident.manifest import Manifest

MODEL = "openvino_model.xml"
DEVICE = "CPU"


class OpenVinoScorer:
    """See `Scorer`."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Compile the model.

        Raises:
            ManifestError: OpenVINO refuses the files or an option.
        """
        self.name = f"{manifest.name}@{manifest.version}"
        try:
            model = ov.Core().compile_model(str(directory / MODEL), DEVICE, dict(manifest.options))
        except RuntimeError as exc:
            raise ManifestError(f"OpenVINO cannot load engine {manifest.name}: {exc}") from exc
        self._inputs = {name for port in model.inputs for name in port.get_names()}
        self._request: Any = model.create_infer_request()

    def logits(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See Scorer.logits."""
        num_tokens = len(input_ids)
        given = {
            "input_ids": input_ids[np.newaxis],
            "attention_mask": np.ones((1, num_tokens), np.int64),
            "position_ids": np.arange(num_tokens, dtype=np.int64)[np.newaxis],
            "beam_idx": np.zeros(1, np.int32),
        }
        self._request.reset_state()
        self._request.infer({name: array for name, array in given.items() if name in self._inputs})
        found: npt.NDArray[np.float32] = self._request.get_tensor("logits").data[0]
        return found.astype(np.float32, copy=False)
