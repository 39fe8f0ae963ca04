"""Adapters that the engine could not apply are refused before anything long begins; the others are copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe, write_adapter, write_checkpoint
from trident.errors import RecipeError
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import read_checkpoint
from trident_build.lora import check_loras, place_loras
from trident_build.recipe import Lora, Recipe


@pytest.fixture
def facts(tmp_path: Path) -> ModelFacts:
    return read_checkpoint(write_checkpoint(tmp_path / "tiny"))


def with_adapter(folder: Path, max_rank: int = 8) -> Recipe:
    return folder_recipe(Path("tiny"), lora=Lora(adapters={"style": folder}, max_rank=max_rank))


def test_an_adapter_that_fits_is_copied_and_named(facts: ModelFacts, tmp_path: Path) -> None:
    recipe = with_adapter(write_adapter(tmp_path / "adapter"))
    check_loras(recipe, facts)
    assert place_loras(recipe, tmp_path / "engine") == {"style": "loras/style"}
    there = sorted(path.name for path in (tmp_path / "engine" / "loras" / "style").iterdir())
    assert there == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_rank_above_the_recipe_s_is_refused(facts: ModelFacts, tmp_path: Path) -> None:
    recipe = with_adapter(write_adapter(tmp_path / "adapter", rank=16))
    with pytest.raises(RecipeError, match=r"'style' is of rank 16, the recipe's lora.max_rank is 8"):
        check_loras(recipe, facts)


def test_an_adapter_of_another_model_is_refused(facts: ModelFacts, tmp_path: Path) -> None:
    recipe = with_adapter(write_adapter(tmp_path / "adapter"))
    for widths, problem in (({"x": 1}, "no such layer"), (dict.fromkeys(facts.widths, 128), "is 128 wide")):
        other = ModelFacts(facts.architecture, facts.precision, 128, facts.tokens, {}, widths)
        with pytest.raises(RecipeError, match=rf"'style' is for tiny: its .*q_proj is 64 wide, .*{problem}"):
            check_loras(recipe, other)


def test_what_is_no_lora_is_refused(facts: ModelFacts, tmp_path: Path) -> None:
    recipe = with_adapter(write_adapter(tmp_path / "adapter", peft_type="LOHA"))
    with pytest.raises(RecipeError, match="peft_type is 'LOHA'; only 'LORA' is supported"):
        check_loras(recipe, facts)
    with pytest.raises(RecipeError, match=r"absent/adapter_config.json is missing"):
        check_loras(with_adapter(tmp_path / "absent"), facts)
    path = write_adapter(tmp_path / "cut") / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RecipeError, match=r"cut/adapter_model.safetensors is truncated"):
        check_loras(with_adapter(tmp_path / "cut"), facts)
