"""Every recipe here is built, served and tested on this machine's GPU: `make test-gpu`, unattended.

A recipe that cannot be served here skips with the reason, all of its tests with it. GPU_RECIPES names another folder of
recipes, of the same model; GPU_BUILDER the `trident` that builds them, of another environment: the extra `build` has
another PyTorch and ModelOpt than NVIDIA's image. What is measured is printed at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from trident.doctor import read_machine
from trident.doctor.gpu import parse_gpus
from trident.doctor.software import runnable_kinds
from trident.engines.capabilities import CAPABILITIES, Support
from trident.errors import ManifestError
from trident.manifest import EngineKind, Manifest, find_engine, read_manifest
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.settings import Settings, read_settings
from trident_build.recipe import read_recipe

HERE = Path(__file__).parent
RECIPES = Path(os.environ.get("GPU_RECIPES", HERE / "recipes"))
TRIDENT = [sys.executable, "-m", "trident"]
BUILDER = [os.environ["GPU_BUILDER"]] if "GPU_BUILDER" in os.environ else TRIDENT
BUILD_LIMIT_S = 600
FIGURES = pytest.StashKey[list[str]]()
# What a test asks of an engine; where its kind refuses that, or leaves it out by contract, the test is skipped.
NEEDS = {
    "test_a_cancel_from_elsewhere_ends_the_stream": "min_tokens",
    "test_leaving_early_frees_the_request_on_the_server": "min_tokens",
    "test_three_sequences_differ_and_a_seed_repeats_each": "seed",
    "test_beams_come_as_one_response_the_best_first": "beam_width",
}


@dataclass(frozen=True)
class Build:
    """What `trident build` made of a recipe."""

    name: str
    engines: Path
    directory: Path | None  # None: it failed
    log: str

    @property
    def manifest(self) -> Manifest:
        assert self.directory is not None
        return read_manifest(self.directory)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)


def pytest_configure(config):
    config.stash[FIGURES] = []


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[FIGURES]:
        terminalreporter.section("measured")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def tell(request):
    """Prints a line at the end of the run."""
    return request.config.stash[FIGURES].append


@pytest.fixture(scope="session")
def machine():
    return read_machine(Settings())


@pytest.fixture(scope="session", params=sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def recipe(request, machine):
    """The file of a recipe whose kind can be served here."""
    kind = read_recipe(request.param).kind
    if kind not in runnable_kinds(machine.packages, len(parse_gpus(machine.smi_gpus))):
        version = machine.packages.get("tensorrt-llm", "not installed")
        gpus = ", ".join(gpu.name for gpu in parse_gpus(machine.smi_gpus)) or "none"
        pytest.skip(f"kind {kind.value} needs NVIDIA's image and a GPU; TensorRT-LLM: {version}, GPU: {gpus}")
    return request.param


@pytest.fixture(scope="session")
def build(recipe, tmp_path_factory):
    """The engine, made anew; a failure is a Build without a directory."""
    engines, name = tmp_path_factory.mktemp("engines"), read_recipe(recipe).name
    try:
        done = subprocess.run(
            [*BUILDER, "build", str(recipe), "--engines", str(engines)],
            capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False,
        )  # fmt: skip
        log = done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        log = f"it took longer than {BUILD_LIMIT_S} s"
    try:
        return Build(name, engines, find_engine(engines, name), log)
    except ManifestError:
        return Build(name, engines, None, log)


@pytest.fixture(scope="session")
def engine(build):
    """The folder of the engine; a build that failed has a test of its own, all others skip."""
    if build.directory is None:
        pytest.skip(f"{build.name} was not built, see test_the_engine_is_built")
    return build.directory


@pytest.fixture(scope="session")
def deployment(build, engine):
    """In the place of the one in tests/server, whose suites run here too."""
    return read_settings({}, engines=build.engines, engine=str(engine), ready_timeout_s=600.0, **free_ports())


@pytest.fixture(scope="session")
def server(deployment):
    with running_server(deployment) as running:
        yield running


@pytest.fixture(autouse=True)
def _needs(request):
    name = NEEDS.get(getattr(request.node, "originalname", ""))
    if name is None:
        return
    kind = request.getfixturevalue("build").manifest.kind if request.getfixturevalue("engine") else None
    if kind is EngineKind.TENSORRT_LLM and name == "beam_width":
        pytest.skip("these engines are built for one beam")
    if kind is not None and CAPABILITIES[name].of(kind) is not Support.YES:
        pytest.skip(f"engines of kind {kind.value} have no {name}")
