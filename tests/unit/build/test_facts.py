"""Group sizes divide every layer, limits fit the model, and bytes of KV cache are the right number of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe
from trident.errors import RecipeError
from trident.manifest import EngineKind, Tokens
from trident_build.facts import ModelFacts, check_limits, choose_group_size, kv_bytes_per_token, resolve_limits
from trident_build.recipe import Quantization, Recipe, RecipeLimits


def facts_of(**widths: int) -> ModelFacts:
    tokens = Tokens(vocab_size=8, eos_ids=(2,), pad_id=2)
    return ModelFacts("LlamaForCausalLM", "bf16", 128, tokens, {}, widths, kv_values_per_token=1000)


def int4(group_size: int | None = None, kv_cache: str | None = None) -> Recipe:
    asked = Quantization(group_size=group_size, kv_cache=kv_cache)
    return folder_recipe(Path("tiny"), precision="int4", quantization=asked)


@pytest.mark.parametrize(("widths", "size"), [((4096, 14336), 128), ((576, 1536), 64), ((96, 4096), 32)])
def test_the_largest_usual_group_that_divides_every_layer_is_taken(widths: tuple[int, int], size: int) -> None:
    assert choose_group_size(int4(), facts_of(q_proj=widths[0], down_proj=widths[1])) == size


def test_a_group_that_does_not_divide_is_refused_with_the_layer_its_width_and_what_would() -> None:
    with pytest.raises(RecipeError, match=r"group_size 128 does not divide q_proj, which is 576 wide; use 64 or 32"):
        choose_group_size(int4(128), facts_of(down_proj=1536, q_proj=576))
    with pytest.raises(RecipeError, match=r"does not divide q_proj, which is 100 wide; use precision 'int8'"):
        choose_group_size(int4(), facts_of(q_proj=100))


def limited(**size: float) -> Recipe:
    recipe = folder_recipe(Path("tiny"), kind=EngineKind.TENSORRT_LLM, precision="fp8")
    values = {**recipe.limits.model_dump(), "kv_cache_tokens": None, **size}
    return recipe.model_copy(update={"limits": RecipeLimits(**values)})


def test_bytes_of_kv_cache_become_tokens_by_the_precision_of_the_cache() -> None:
    assert resolve_limits(limited(kv_cache_bytes=1_000_000), facts_of()).kv_cache_tokens == 500
    eight_bits = limited(kv_cache_bytes=1_000_000).model_copy(update={"quantization": Quantization(kv_cache="fp8")})
    assert resolve_limits(eight_bits, facts_of()).kv_cache_tokens == 1000
    assert kv_bytes_per_token(int4(kv_cache="u4"), facts_of()) == 500
    with pytest.raises(RecipeError, match="200000 kv_cache_bytes hold 100 tokens, one sequence has up to 128"):
        resolve_limits(limited(kv_cache_bytes=200_000), facts_of())


def test_a_fraction_promises_the_longest_sequence_and_nothing_more() -> None:
    assert resolve_limits(limited(kv_cache_fraction=0.9), facts_of()).kv_cache_tokens == 128


def test_limits_beyond_the_context_are_refused() -> None:
    recipe = folder_recipe(Path("tiny"))
    values = {**recipe.limits.model_dump(), "max_output_tokens": 128, "max_seq_tokens": 192}
    longer = recipe.model_copy(update={"limits": RecipeLimits(**values)})
    with pytest.raises(RecipeError, match="max_seq_tokens 192 is beyond the model's context of 128 tokens"):
        check_limits(longer, facts_of())
