"""What `trident repository add` writes is a second ensemble that keeps the contract, or nothing at all."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from tests.unit.manifests import MANIFEST
from trident.cli import app
from trident.contract import MODELS
from trident.errors import RepositoryError
from trident.manifest import write_manifest
from trident.repository import check_repository, differences, read_config
from trident.repository_add import add_engine
from trident.server.repository import default_repository


@pytest.fixture
def repository(tmp_path):
    return shutil.copytree(default_repository(), tmp_path / "repository")


def test_the_new_models_differ_in_names_and_engine_only(repository, tmp_path):
    names = add_engine(repository, "small", tmp_path / "engine")
    assert names == [f"{model.name}_small" for model in MODELS]
    for model in MODELS:
        config = read_config(repository / f"{model.name}_small" / "config.pbtxt")
        assert config.name == f"{model.name}_small"
        if model.is_ensemble:
            for step in config.ensemble_scheduling.step:
                step.model_name = step.model_name.removesuffix("_small")
        else:
            assert config.parameters["engine"].string_value == str(tmp_path / "engine")
            assert (repository / f"{model.name}_small" / "1" / "model.py").is_file()
        config.name = model.name
        assert differences(model, config) == []


def test_the_first_ensemble_stays_as_it_was(repository, tmp_path):
    add_engine(repository, "small", tmp_path)
    add_engine(repository, "large", tmp_path)
    assert check_repository(repository) == []
    assert not [model for model in MODELS if (repository / model.name / "config.pbtxt").read_text() != (
        default_repository() / model.name / "config.pbtxt").read_text()]  # fmt: skip


@pytest.mark.parametrize("key", ["", "a b", "../up", "A", "_x", "ü"])
def test_a_key_that_cannot_end_a_model_s_name_is_refused(repository, tmp_path, key):
    before = sorted(repository.iterdir())
    with pytest.raises(RepositoryError, match="cannot end a model's name"):
        add_engine(repository, key, tmp_path)
    assert sorted(repository.iterdir()) == before


def test_a_key_is_taken_once(repository, tmp_path):
    add_engine(repository, "small", tmp_path)
    with pytest.raises(RepositoryError, match="has a model preprocessing_small already"):
        add_engine(repository, "small", tmp_path)


def test_a_broken_model_adds_none_of_the_four(repository, tmp_path):
    path = repository / "postprocessing" / "config.pbtxt"
    path.write_text(path.read_text().replace('name: "OUTPUT"', 'name: "OUT"'))
    with pytest.raises(RepositoryError, match="output OUTPUT is missing"):
        add_engine(repository, "small", tmp_path)
    assert not list(repository.glob("*_small"))


def test_the_verb_copies_trident_s_own_repository_where_there_is_none(tmp_path):
    engine = tmp_path / "engines" / "small" / "1"
    engine.mkdir(parents=True)
    write_manifest(engine, MANIFEST)
    (engine.parent / "current").symlink_to("1")
    output = tmp_path / "mine"
    arguments = ["repository", "add", "small", "--repository", str(output), "--engines", str(engine.parents[1])]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "added       ensemble_small" in done.stdout
    named = read_config(output / "tensorrt_llm_small" / "config.pbtxt").parameters["engine"].string_value
    assert json.loads((type(engine)(named) / "manifest.json").read_text())["name"] == MANIFEST.name
