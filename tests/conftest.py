"""What was found on this machine, at the head of every report; the servers that tests of several tiers share."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import hypothesis
import pytest

from trident.errors import HostError, ManifestError
from trident.manifest import find_engine
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.settings import read_settings
from trident_build import build_engine, find_recipe, read_recipe

ROOT = Path(__file__).parents[1]

# A shared machine is slow at times. HYPOTHESIS_PROFILE=thorough looks at more examples (`make soak`).
hypothesis.settings.register_profile("trident", deadline=None, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "trident"))


def pytest_report_header() -> str:
    names = (
        "nvidia-pytriton", "openvino-genai", "tokenizers", "tritonclient", "numpy", "transformers", "presidio-analyzer",
    )  # fmt: skip
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"trident on Python {platform.python_version()}: {', '.join(found)}"


@pytest.fixture(scope="session")
def deployment():
    """Settings of the embedded engine on free ports; skips where the tier cannot run."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("no tritonserver: nvidia-pytriton is not installed (pip install 'trident-llm[cpu]')")
    settings = read_settings({}, engines=ROOT / "engines", **free_ports())
    try:
        find_engine(settings.engines, settings.engine)
    except ManifestError as exc:
        pytest.skip(f"no engine: {exc}")
    return settings


@pytest.fixture(scope="session")
def server(deployment):
    """A running server that nobody kills; tests that do start their own."""
    with running_server(deployment) as running:
        yield running


@pytest.fixture(scope="session")
def simulated_engine(tmp_path_factory):
    """The folder of engines that holds `replay-smollm2`: the same words to everybody, 200 tokens a second a stream."""
    engines = tmp_path_factory.mktemp("engines")
    build_engine(read_recipe(find_recipe("replay-smollm2")), engines)
    return engines


@pytest.fixture(scope="session")
def simulated(deployment, simulated_engine):
    """A running server of it that nobody kills or fills."""
    changes = {"engines": simulated_engine, "engine": "replay-smollm2", **free_ports()}
    with running_server(deployment.model_copy(update=changes)) as running:
        yield running


@pytest.fixture(scope="session")
def embedding_settings(deployment, simulated_engine):
    """Of a server with the simulated engine and the model that makes embeddings, `all-minilm-l6-v2`."""
    try:
        build_engine(read_recipe(find_recipe("all-minilm-l6-v2")), simulated_engine)
    except HostError as exc:
        pytest.skip(exc.message)
    changes = {"engines": simulated_engine, "engine": "replay-smollm2", "embedding": "all-minilm-l6-v2", **free_ports()}
    return deployment.model_copy(update=changes)


@pytest.fixture(scope="session")
def embedding_server(embedding_settings):
    """A running server of them that nobody kills."""
    with running_server(embedding_settings) as running:
        yield running
