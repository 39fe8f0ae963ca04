"""What a recipe of a simulated engine says of it."""

from __future__ import annotations

import hashlib
import json

from pydantic import ValidationError

from trident.engines.replay_settings import ReplayOptions
from trident.engines.replay_timing import read_preset
from trident.errors import RecipeError
from trident.faults import explain_invalid
from trident_build.recipe import Recipe


def read_options(recipe: Recipe) -> ReplayOptions:
    """What a recipe of this kind says in [options].

    Raises:
        RecipeError: an unknown key, with the nearest name, or a bad value.
    """
    try:
        return ReplayOptions.model_validate_json(json.dumps(recipe.options), strict=True)
    except ValidationError as exc:
        raise RecipeError(f"recipe {recipe.name}: [options] {explain_invalid(exc, ReplayOptions)}") from exc


def preset_version(options: ReplayOptions) -> str:
    """Equal for presets that hold the same numbers."""
    return hashlib.sha256(read_preset(options.preset).model_dump_json().encode()).hexdigest()[:12]
