"""The adapter of an engine directory, chosen by its manifest."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from trident.engines.base import Engine
from trident.engines.openvino import OpenVinoEngine
from trident.engines.replay import ReplayEngine
from trident.engines.tensorrt_llm import TensorRtLlmEngine
from trident.errors import ManifestError
from trident.manifest import EngineKind, Manifest

# The package that runs engines of a kind, and where it comes from. `replay` needs none.
PACKAGES = {
    EngineKind.OPENVINO: ("openvino_genai", "pip install 'trident-llm[cpu]'"),
    EngineKind.OPENVINO_EMBEDDING: ("openvino", "pip install 'trident-llm[cpu]'"),
    EngineKind.TENSORRT_LLM: ("tensorrt_llm", "serve it from NVIDIA's image"),
    EngineKind.TENSORRT_LLM_PYTORCH: ("tensorrt_llm", "serve it from NVIDIA's image"),
}


def check_runnable(manifest: Manifest) -> None:
    """Refuse an engine that this machine cannot run, before anything is started; nothing is imported for it.

    Raises:
        ManifestError: names the kind, the package that is missing and where it comes from.
    """
    package, advice = PACKAGES.get(manifest.kind, (None, ""))
    if package is not None and importlib.util.find_spec(package) is None:
        raise ManifestError(
            f"engine {manifest.name} is of kind {manifest.kind.value}, which cannot run here: {package} is not "
            f"installed; {advice}"
        )


def check_generates(manifest: Manifest) -> None:
    """Refuse an engine that makes no text.

    Raises:
        ManifestError: says how it is served.
    """
    if manifest.kind is EngineKind.OPENVINO_EMBEDDING:
        raise ManifestError(
            f"engine {manifest.name} makes embeddings and no text; serve it beside another engine: "
            f"trident serve --embedding {manifest.name}"
        )


def check_embeds(manifest: Manifest) -> None:
    """Refuse an engine that makes no embeddings.

    Raises:
        ManifestError: says which kind does.
    """
    if manifest.kind is not EngineKind.OPENVINO_EMBEDDING:
        raise ManifestError(
            f"engine {manifest.name} is of kind {manifest.kind.value} and makes no embeddings; name one of kind "
            f"{EngineKind.OPENVINO_EMBEDDING.value}, such as all-minilm-l6-v2"
        )


def load_engine(directory: Path, manifest: Manifest) -> Engine:
    """Load the engine in `directory` with the adapter of `manifest.kind`.

    Raises:
        ConfigurationError: the adapter refuses the files, or this machine cannot run the kind.
        EngineError: the engine's process ended.
    """
    check_generates(manifest)
    check_runnable(manifest)
    if manifest.kind is EngineKind.REPLAY:
        return ReplayEngine.load(directory, manifest)
    if manifest.kind is EngineKind.OPENVINO:
        return OpenVinoEngine(directory)
    return TensorRtLlmEngine(directory, manifest)
