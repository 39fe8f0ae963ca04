"""A draft engine lies inside the engine that it proposes to, and has its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe
from tests.unit.manifests import MANIFEST
from trident.errors import ManifestError, RecipeError
from trident.manifest import CURRENT, DraftModel, sha256_of, write_manifest
from trident_build.draft import place_draft
from trident_build.recipe import DraftEngine, Recipe

TOKENIZER = "tokenizer/tokenizer.json"


def write_tokenizer(folder: Path, content: str = "{}") -> Path:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / TOKENIZER).write_text(content)
    return folder


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder with the engine `small`: weights and a tokenizer."""
    directory = write_tokenizer(tmp_path / "engines" / "small" / "v1")
    (directory / "openvino_model.bin").write_bytes(b"small")
    files = {name: sha256_of(directory / name) for name in (TOKENIZER, "openvino_model.bin")}
    write_manifest(directory, MANIFEST.model_copy(update={"name": "small", "version": "v1", "files": files}))
    (directory.parent / CURRENT).symlink_to("v1")
    return tmp_path / "engines"


def recipe_with(engine: str) -> Recipe:
    return folder_recipe(Path("x"), speculation=DraftEngine(kind="draft_model", engine=engine, num_draft_tokens=3))


def test_its_files_are_put_into_the_engine(engines: Path, tmp_path: Path) -> None:
    engine = write_tokenizer(tmp_path / "engine")
    said = place_draft(recipe_with("small"), engines, engine)
    assert said == DraftModel(kind="draft_model", path="draft", num_draft_tokens=3)
    assert (engine / "draft" / "openvino_model.bin").read_bytes() == b"small"


def test_one_of_other_tokens_is_refused(engines: Path, tmp_path: Path) -> None:
    engine = write_tokenizer(tmp_path / "engine", '{"other": 1}')
    with pytest.raises(RecipeError, match="draft engine 'small' has another tokenizer"):
        place_draft(recipe_with("small"), engines, engine)
    assert not (engine / "draft").exists()


def test_one_that_is_not_there_is_refused_by_name(engines: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no engine 'smal'"):
        place_draft(recipe_with("smal"), engines, write_tokenizer(tmp_path / "engine"))
