"""`trident build`: nothing that was asked for is left out, and an engine is registered when it is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.build.tiny_checkpoint import folder_recipe, write_checkpoint
from trident.cli import app
from trident.errors import RecipeError
from trident.registry import VERSION_TAG, default_uri

LIMITS = {**folder_recipe(Path("x")).limits.model_dump(exclude_none=True), "kv_cache_fraction": 0.8}
LIMITS.pop("kv_cache_tokens")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that is a checkpoint as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_checkpoint(tmp_path / "tiny")
    lines = ['name = "tiny"', 'kind = "tensorrt_llm_pytorch"', 'precision = "bf16"', "[source]", 'type = "folder"']
    lines += ['path = "tiny"', 'model = "Tiny"', 'licence = "Apache-2.0"', "[limits]"]
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in LIMITS.items())]))
    return path


@pytest.mark.parametrize(
    ("options", "odd", "verb"),
    [
        (["--resume", "x", "--dry-run"], "--dry-run", "--resume"),
        (["--resume", "x", "--force"], "--force", "--resume"),
        (["--dry-run", "--register"], "--register", "--dry-run"),
        (["--dry-run", "--checkpoint", "x"], "--checkpoint", "--dry-run"),
        (["--checkpoint", "x", "--register"], "--register", "--checkpoint"),
    ],
)
def test_options_that_contradict_each_other_are_refused(recipe: Path, options: list[str], odd: str, verb: str) -> None:
    arguments = options if "--resume" in options else [str(recipe), *options]
    with pytest.raises(RecipeError, match=f"{odd} does not go with {verb}"):
        CliRunner().invoke(app, ["build", *arguments], catch_exceptions=False)


@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_a_build_with_register_is_a_model_version(recipe: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra 'registry' is not installed")
    engines = tmp_path / "engines"
    arguments = ["build", str(recipe), "--engines", str(engines), "--register"]
    for _ in range(2):  # the second time the engine is there already, and so is its version
        assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    client = mlflow.MlflowClient(tracking_uri=default_uri(engines), registry_uri=default_uri(engines))
    versions = client.search_model_versions("name='tiny'")
    assert [version.tags[VERSION_TAG] for version in versions] == [(engines / "tiny" / "current").readlink().name]
    logged = {artifact.path for artifact in client.list_artifacts(versions[0].run_id)}
    assert logged == {"manifest.json", "recipe.json"}
