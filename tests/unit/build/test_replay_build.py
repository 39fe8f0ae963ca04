"""A simulated engine is built from a tokenizer and a preset, and says in its manifest that it has no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer

from tests.unit.build.tiny_source import recipe_of
from trident.engines.load import load_engine
from trident.engines.replay_settings import read_replay_settings
from trident.engines.replay_timing import read_preset
from trident.errors import RecipeError
from trident.manifest import EngineKind, find_engine, read_manifest, verify_files
from trident_build import Recipe, build_engine, build_steps, find_recipe, plan_engine, read_recipe
from trident_build.sources import PypiSource

OWN_PRESET = "[step]\nbase_ms = {}\nper_sequence_ms = 1\nper_context_token_us = 2\nprefill_tokens_per_s = 100\n"


def replay_of(source: PypiSource, **options: Any) -> Recipe:
    values = {"preset": "constant-200", **options}
    return recipe_of(source, kind=EngineKind.REPLAY, precision="none", options=values)


def test_the_engine_holds_a_tokenizer_and_what_it_says_and_no_weights(source: PypiSource, tmp_path: Path) -> None:
    directory = build_engine(replay_of(source, jitter=0.1), tmp_path / "engines", cache=tmp_path)
    assert find_engine(tmp_path / "engines", "tiny") == directory
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    assert (manifest.kind, manifest.precision, manifest.options) == (EngineKind.REPLAY, "none", {})
    assert set(manifest.files) == {
        "generation_config.json", "recipe.json", "replay.toml", "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    }  # fmt: skip
    settings = read_replay_settings(directory)
    assert (settings.preset, settings.jitter, settings.timing) == ("constant-200", 0.1, read_preset("constant-200"))
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer" / "tokenizer.json"))
    assert tokenizer.decode(list(settings.answer_ids)).startswith(
        "This answer is simulated by Trident's replay engine."
    )
    assert load_engine(directory, manifest).is_simulated


def test_the_version_follows_the_numbers_of_the_preset(source: PypiSource, tmp_path: Path) -> None:
    def version(text: str) -> str:
        (tmp_path / "own.toml").write_text(text)
        return plan_engine(replay_of(source, preset=str(tmp_path / "own.toml")), tmp_path).version

    first = version(OWN_PRESET.format(5))
    assert version("# with a comment\n" + OWN_PRESET.format("5.0")) == first
    assert version(OWN_PRESET.format(6)) != first


def test_a_dry_run_says_what_there_is_instead_of_a_model(source: PypiSource, tmp_path: Path) -> None:
    steps = dict(build_steps(plan_engine(replay_of(source), tmp_path, tmp_path / "cache")))
    assert steps["compile"] == "its vocabulary to tokenizer.json, preset constant-200 to replay.toml"
    assert "OpenVINO" not in str(steps)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"presets": "constant-200"}, r"recipe tiny: \[options\] unknown key 'presets'; did you mean 'preset'\?"),
        ({"preset": "constant-2000"}, r"unknown preset 'constant-2000'; did you mean 'constant-200'\?"),
        ({"jitter": 1.0}, r"\[options\] jitter: Input should be less than 1, got 1.0"),
        ({"stop_median_tokens": 0}, r"\[options\] stop_median_tokens: Input should be greater than or equal to 1"),
    ],
)
def test_options_that_are_wrong_are_one_line(
    options: dict[str, Any], problem: str, source: PypiSource, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=problem):
        plan_engine(replay_of(source, **options), tmp_path)


def test_a_precision_is_refused_where_there_are_no_weights(source: PypiSource) -> None:
    with pytest.raises(ValidationError, match="a replay engine has no weights; precision must be 'none'"):
        recipe_of(source, kind=EngineKind.REPLAY, precision="fp8")


@pytest.mark.parametrize("name", ["replay-smollm2", "replay-h100"])
def test_the_shipped_recipes_can_be_planned(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(find_recipe(name))
    assert recipe.name == name
    assert plan_engine(recipe, tmp_path).directory.parent == tmp_path / name
