"""What can say how probable it holds a text: a loaded engine or checkpoint, as a function from ids to logits."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trident.errors import HostError, ManifestError
from trident.manifest import FILE_NAME, EngineKind, read_manifest


class Scorer(Protocol):
    """A model that reads a text at once."""

    name: str  # for tables

    def logits(self, input_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """float32[tokens, vocab_size]: row i is about the token after input_ids[i]; input_ids is int64[tokens]."""


def load_scorer(directory: Path) -> Scorer:
    """The scorer of an engine directory, or of a Hugging Face checkpoint (a folder with config.json).

    Raises:
        ManifestError: neither of them, or an engine that has no model to ask.
        HostError: what it takes to load it is not installed here.
    """
    if (directory / FILE_NAME).is_file():
        manifest = read_manifest(directory)
        if manifest.kind is EngineKind.REPLAY:
            raise ManifestError(f"engine {manifest.name} is simulated: it has no model whose quality could be measured")
        if manifest.kind is not EngineKind.OPENVINO:
            raise HostError(
                f"engine {manifest.name} is of kind {manifest.kind.value}, which gives no log-probabilities of a "
                "prompt here; measure the checkpoint that it was compiled from"
            )
        from trident.evaluate.openvino_scorer import OpenVinoScorer  # noqa: PLC0415 - loads openvino

        return OpenVinoScorer(directory, manifest)
    if (directory / "config.json").is_file():
        from trident.evaluate.checkpoint_scorer import CheckpointScorer  # noqa: PLC0415 - loads torch

        return CheckpointScorer(directory)
    raise ManifestError(f"{directory} is neither an engine ({FILE_NAME}) nor a checkpoint (config.json)")
