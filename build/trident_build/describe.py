"""The manifest of an engine that was just made."""

from __future__ import annotations

from datetime import datetime, timezone

from trident.manifest import EngineKind, Manifest
from trident_build.building import Building, Made
from trident_build.directory import file_sums
from trident_build.draft import place_draft
from trident_build.facts import resolve_limits
from trident_build.lora import place_loras


def describe(building: Building, made: Made) -> Manifest:
    """The manifest of what lies in the engine's folder, adapters, draft model and recipe put there first."""
    plan, recipe, facts = building.plan, building.plan.recipe, building.facts
    loras = place_loras(recipe, building.engine)
    speculation = place_draft(recipe, plan.engines, building.engine)
    recipe.write(building.engine)
    is_replay = recipe.kind is EngineKind.REPLAY  # replay.toml has its options
    options = {} if is_replay else dict(recipe.options)
    if recipe.kind is EngineKind.OPENVINO and recipe.quantization.kv_cache is not None:
        options["KV_CACHE_PRECISION"] = recipe.quantization.kv_cache
    return Manifest(
        name=recipe.name,
        version=plan.version,
        kind=recipe.kind,
        precision=recipe.precision,
        source=building.origin.source,
        recipe=recipe.name,
        recipe_sha256=recipe.sha256,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        tools={**plan.tools, **dict(made.tools)},
        limits=resolve_limits(recipe, facts),
        tokens=facts.tokens,
        options=options,
        loras=loras,
        max_loras=Manifest.model_fields["max_loras"].default if recipe.lora is None else recipe.lora.max_loras,
        speculation=speculation,
        parallelism=recipe.parallelism,
        quantization=made.quantization,
        kv_cache_precision=recipe.quantization.kv_cache,
        kv_cache_fraction=recipe.limits.kv_cache_fraction,
        gpu_architecture=made.gpu_architecture,
        image_digest=made.image_digest,
        files=file_sums(building.engine),
    )
