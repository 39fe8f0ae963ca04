"""A smaller engine that proposes tokens to a larger one, copied into it."""

from __future__ import annotations

from pathlib import Path

from trident.errors import RecipeError
from trident.manifest import DraftModel, Speculation, find_engine, read_manifest
from trident_build.recipe import DraftEngine, Recipe
from trident_build.stages import place_file

FOLDER = "draft"
_TOKENIZER = "tokenizer/tokenizer.json"


def place_draft(recipe: Recipe, engines: Path, engine: Path) -> Speculation | None:
    """Put the draft engine's files into the folder `engine`; the manifest's speculation.

    Raises:
        ManifestError: there is no such engine.
        RecipeError: its tokens are not the engine's.
    """
    asked = recipe.speculation
    if not isinstance(asked, DraftEngine):
        return asked
    draft = find_engine(engines, asked.engine)
    if (draft / _TOKENIZER).read_bytes() != (engine / _TOKENIZER).read_bytes():
        raise RecipeError(f"recipe {recipe.name}: draft engine '{asked.engine}' has another tokenizer")
    for name in read_manifest(draft).files:
        place_file(draft / name, engine / FOLDER / name)
    return DraftModel(kind=asked.kind, path=FOLDER, num_draft_tokens=asked.num_draft_tokens)
