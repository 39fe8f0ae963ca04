"""`trident check` ends with the command that serves what it has checked."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, models
from typer.testing import CliRunner

from tests.unit.manifests import MANIFEST
from trident.cli import app
from trident.manifest import EngineKind, sha256_of, write_manifest


@pytest.fixture
def engine(tmp_path):
    """An engine directory of kind `replay`, as far as `check` reads it."""
    directory = tmp_path / "my engine"
    directory.mkdir()
    (directory / "replay.toml").write_text("")
    (directory / "tokenizer").mkdir()
    Tokenizer(models.WordLevel({"x": 0}, "x")).save(str(directory / "tokenizer" / "tokenizer.json"))
    files = {"replay.toml": sha256_of(directory / "replay.toml")}
    write_manifest(directory, MANIFEST.model_copy(update={"kind": EngineKind.REPLAY, "files": files}))
    return directory


def test_the_next_command_names_the_engine_that_was_checked(engine):
    result = CliRunner().invoke(app, ["check", str(engine)])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"next   trident serve --engine '{engine}'"


def test_what_the_settings_say_need_not_be_said_again(engine, monkeypatch):
    monkeypatch.setenv("TRIDENT_ENGINE", str(engine))
    assert CliRunner().invoke(app, ["check"]).output.splitlines()[-1] == "next   trident serve"


def test_every_fact_is_a_line_and_a_wrong_one_has_its_fix(engine):
    manifest = MANIFEST.model_copy(
        update={"kind": EngineKind.OPENVINO, "tools": {"openvino": "2019.1.0"}, "files": {"gone": "0" * 64}}
    )
    write_manifest(engine, manifest)
    result = CliRunner().invoke(app, ["check", str(engine)])
    lines = result.output.splitlines()
    assert result.exit_code == 2
    assert any(line.startswith("WRONG  files") and line.endswith("build it again") for line in lines)
    assert any(line.startswith("WRONG  openvino") and "pip install 'openvino==2019.1.0'" in line for line in lines)
    assert not any(line.startswith("next") for line in lines)


def test_json_has_the_same_facts(engine):
    facts = json.loads(CliRunner().invoke(app, ["check", str(engine), "--json"]).output)
    assert {fact["name"]: fact["is_ok"] for fact in facts} == dict.fromkeys(
        ["repository", "engine", "files", "kind", "tokenizer", "limits"], True
    )
