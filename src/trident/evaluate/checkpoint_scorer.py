"""A Hugging Face checkpoint as a Scorer, in float32 by transformers; the only import of torch outside of the build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trident.errors import HostError, ManifestError


class CheckpointScorer:
    """See `Scorer`."""

    def __init__(self, directory: Path) -> None:
        """Load it; no code of the checkpoint is run, and nothing is fetched.

        Raises:
            HostError: torch or transformers is not installed.
            ManifestError: transformers cannot load the folder.
        """
        try:
            import torch  # noqa: PLC0415 - an extra
            from transformers import AutoModelForCausalLM  # noqa: PLC0415
        except ImportError as exc:
            raise HostError(f"{exc.name} is not installed; pip install 'trident-llm[build]'") from exc
        self.name = directory.resolve().name
        self._torch = torch
        try:
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                str(directory), dtype=torch.float32, local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError, RuntimeError) as exc:
            raise ManifestError(f"the checkpoint in {directory} cannot be loaded: {exc}") from exc

    def logits(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """See Scorer.logits."""
        with self._torch.inference_mode():
            found: npt.NDArray[np.float32] = self._model(self._torch.from_numpy(input_ids[None])).logits[0].numpy()
        return found
