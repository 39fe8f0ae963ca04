"""PEFT adapters of a recipe: checked against the model before anything long begins, then copied into the engine.

Every kind of engine takes them in PEFT's own form: OpenVINO GenAI the safetensors, TensorRT-LLM's LLM API the folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from trident.errors import RecipeError
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import read_header, read_json
from trident_build.recipe import Recipe
from trident_build.stages import place_file

FOLDER = "loras"
FILES = ("adapter_config.json", "adapter_model.safetensors")
# base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
_WEIGHT = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")


def check_loras(recipe: Recipe, facts: ModelFacts) -> None:
    """Refuse adapters that the engine could not apply.

    Raises:
        RecipeError: not a PEFT LoRA, a rank above max_rank, or layers that the model does not have in that size.
    """
    if recipe.lora is None:
        return
    for name, folder in recipe.lora.adapters.items():
        _check(name, folder, recipe.lora.max_rank, facts.widths)


def _check(name: str, folder: Path, max_rank: int, widths: Mapping[str, int]) -> None:
    config = read_json(folder / FILES[0])
    if config.get("peft_type") != "LORA":
        raise RecipeError(f"LoRA adapter '{name}': peft_type is {config.get('peft_type')!r}; only 'LORA' is supported")
    layers = 0
    for tensor, header in read_header(folder / FILES[1]).items():
        match = _WEIGHT.fullmatch(tensor)
        if match is None:
            raise RecipeError(
                f"LoRA adapter '{name}': {tensor} is no LoRA weight; only lora_A and lora_B are supported"
            )
        if match["part"] == "B":
            continue
        layers += 1
        rank, width = header["shape"]
        if rank > max_rank:
            raise RecipeError(f"LoRA adapter '{name}' is of rank {rank}, the recipe's lora.max_rank is {max_rank}")
        own = widths.get(f"{match['layer']}.weight")
        if widths and own != width:
            base = config.get("base_model_name_or_path") or "another model"
            problem = "the model has no such layer" if own is None else f"the model's is {own} wide"
            raise RecipeError(f"LoRA adapter '{name}' is for {base}: its {match['layer']} is {width} wide, {problem}")
    if not layers:
        raise RecipeError(f"LoRA adapter '{name}' holds no weights")


def place_loras(recipe: Recipe, engine: Path) -> dict[str, str]:
    """Copy the adapters into the folder `engine`; name -> folder inside it."""
    adapters = {} if recipe.lora is None else recipe.lora.adapters
    for name, folder in adapters.items():
        for file in FILES:
            place_file(folder / file, engine / FOLDER / name / file, is_ours=False)
    return {name: f"{FOLDER}/{name}" for name in adapters}
