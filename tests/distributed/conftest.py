"""Two real servers with the replay engine, which a distributed job shares."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from pathlib import Path

import pytest

from trident.errors import ManifestError
from trident.manifest import find_engine
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.settings import read_settings

ROOT = Path(__file__).parents[2]
ENGINE = "replay-smollm2"


@pytest.fixture(scope="session")
def servers():
    """Skips where the tier cannot run."""
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("no tritonserver: nvidia-pytriton is not installed (pip install 'trident-llm[cpu]')")
    try:
        find_engine(ROOT / "engines", ENGINE)
    except ManifestError as exc:
        pytest.skip(f"no engine: {exc}")
    with ExitStack() as running:
        yield [
            running.enter_context(
                running_server(read_settings({}, engines=ROOT / "engines", engine=ENGINE, **free_ports()))
            )
            for _ in range(2)
        ]
