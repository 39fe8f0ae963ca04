"""`trident bench features`: what LoRA, prompt lookup and the precision of the KV cache change, on the OpenVINO engine.

Each is measured beside the engine without it, in turn, on the same prompts. That the answers are right is for the
tests to say; here is how fast they come, and how far they are from each other where they may be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trident.bench import kv_effect, lookup_effect, lora_effect
from trident.bench.engine_side import Say, Workload
from trident.errors import ManifestError
from trident.manifest import EngineKind, read_manifest

FEATURES = {
    "lora": lora_effect.measure,
    "prompt-lookup": lookup_effect.measure,
    "kv-precision": kv_effect.measure,
}


def measure(built: Path, features: Sequence[str], workload: Workload, repeats: int, say: Say) -> dict[str, Any]:
    """Each of `features` (names of FEATURES) on the engine in `built`.

    Raises:
        ManifestError: the engine is of another kind, or not of SmolLM2-135M, for which the adapter is.
        TridentError: the prompts are beyond its limits, or it failed.
    """
    manifest = read_manifest(built)
    if manifest.kind is not EngineKind.OPENVINO:
        raise ManifestError(
            f"engine {manifest.name} is of kind {manifest.kind.value}; these features are measured on kind openvino"
        )
    found: dict[str, Any] = {}
    for feature in features:
        say(f"{feature}:")
        with tempfile.TemporaryDirectory(prefix="trident-features-") as folder:
            found[feature.replace("-", "_")] = FEATURES[feature](built, Path(folder), workload, repeats, say)
    return found
