"""`trident plan`: what a recipe will need and bring, before a GPU-hour is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trident_build.planner.capacity_plan import CapacityPlan
    from trident_build.planner.parts import Part
    from trident_build.planner.shapes import Shape
    from trident_build.recipe import Recipe

_MEASURED_SEQS = 32  # at most, so that it takes seconds


def plan(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="name of a shipped recipe, or a .toml file")],
    *,
    gpu: Annotated[str, typer.Option(help="h100, h200, b200, a100, l40s, l4, rtx4090, or cpu: this machine")] = "",
    tp: Annotated[int | None, typer.Option(min=1, help="tensor parallel", show_default="the recipe's")] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="of each request")] = 1024,
    output_tokens: Annotated[int, typer.Option(min=2, help="of each request")] = 256,
    price: Annotated[float | None, typer.Option(min=0, help="of one GPU for an hour, in your currency")] = None,
    config: Annotated[Path | None, typer.Option(help="config.json of the model, where its sizes are not known")] = None,
    measured: Annotated[bool, typer.Option("--measured", help="beside the engine built from it, on this CPU")] = False,
    engines: Annotated[Path | None, typer.Option(help="folder of engines", show_default="engines")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Memory, sequences that fit, estimated rates and cost of a recipe on a part."""
    from trident.errors import SettingsError
    from trident.manifest import EngineKind, Parallelism
    from trident_build import find_recipe, read_recipe
    from trident_build.planner.capacity_plan import Load, plan_capacity
    from trident_build.planner.parts import find_part

    what = read_recipe(find_recipe(recipe))
    is_openvino = what.kind is EngineKind.OPENVINO
    gpu = gpu or ("cpu" if is_openvino else "h100")
    if what.kind is EngineKind.REPLAY:
        raise SettingsError(f"recipe {what.name} is of kind replay: it has no weights, there is nothing to plan")
    if what.kind is EngineKind.OPENVINO_EMBEDDING:
        raise SettingsError(f"recipe {what.name} makes embeddings: it has no KV cache, there is nothing to plan")
    if is_openvino != (gpu == "cpu"):
        raise SettingsError(f"recipe {what.name} is of kind {what.kind.value}, which does not run on --gpu {gpu}")
    if measured and not is_openvino:
        raise SettingsError("--measured needs a recipe of kind openvino")
    if tp is not None:
        what = what.model_copy(update={"parallelism": Parallelism(tp=tp, pp=what.parallelism.pp)})
    shape, part = _shape(what, config), find_part(gpu)
    load = Load(prompt_tokens, output_tokens, price)
    found = plan_capacity(what, shape, part, load)
    truth = _measure(what, found, load.prompt_tokens, load.output_tokens, engines) if measured else {}
    if truth:  # the same number of sequences
        limits = what.limits.model_copy(update={"max_num_seqs": min(found.num_seqs, _MEASURED_SEQS)})
        found = plan_capacity(what.model_copy(update={"limits": limits}), shape, part, load)
    if json_output:
        typer.echo(json.dumps({**found.as_dict(), **({"measured": truth} if truth else {})}, indent=2))
        return
    for line in _lines(found, part, load.seq_tokens, truth):
        typer.echo(line)


def _shape(recipe: Recipe, config: Path | None) -> Shape:
    """From --config, the source's own folder, or the table."""
    from trident_build.planner.shapes import known_shape, shape_from_config

    source = recipe.source
    folder = source.path if source.type == "folder" else None
    if config is None and folder is not None and (folder / "config.json").is_file():
        config = folder / "config.json"
    return shape_from_config(config) if config else known_shape(source.repo if source.type == "hf" else source.model)


def _measure(
    recipe: Recipe, found: CapacityPlan, prompt_tokens: int, output_tokens: int, engines: Path | None
) -> dict[str, float]:
    from dataclasses import asdict

    from trident.evaluate.speed import measure_speed
    from trident.manifest import find_engine
    from trident.settings import read_settings

    directory = find_engine(read_settings(engines=engines).engines, recipe.name)
    return asdict(measure_speed(directory, prompt_tokens, output_tokens, min(found.num_seqs, _MEASURED_SEQS)))


def _lines(plan: CapacityPlan, part: Part, seq_tokens: int, truth: dict[str, float]) -> list[str]:
    def gb(value: float) -> str:
        return f"{value / 1e9:.2f} GB"

    def rate(name: str, text: str) -> str:
        beside = f"   measured {truth[name]:,.0f}" if name in truth else ""
        return f"{text:<22} {getattr(plan, name):,.0f}{beside}"

    each = f" on each of {plan.num_parts}" if plan.num_parts > 1 else ""
    per_token = f"{plan.kv_bytes_per_token:,.0f}"
    lines = [
        f"{'recipe':<22} {plan.recipe}: {plan.num_weights / 1e9:.2f} billion weights",
        f"{'part':<22} {plan.num_parts} x {plan.part}, {gb(plan.memory_bytes)} ({part.source})",
        f"{'weights':<22} {gb(plan.weights_bytes)}{each}",
        f"{'activations':<22} {gb(plan.activation_bytes)}{each}, logits included",
        f"{'runtime':<22} {gb(plan.runtime_bytes)}{each}",
        f"{'KV cache':<22} {gb(plan.kv_cache_bytes)}{each}: {plan.kv_cache_tokens:,} tokens of {per_token} bytes",
    ]
    if not plan.fits:
        return [*lines, f"{'verdict':<22} does not fit: {plan.advice}"]
    lines += [
        f"{'sequences':<22} {plan.num_seqs_that_fit:,} of {seq_tokens:,} tokens fit; {plan.num_seqs:,} run at once",
        rate("prefill_tokens_per_s", "prefill, tokens/s"),
        rate("ttft_ms", "one prompt alone, ms"),
        rate("decode_tokens_per_s_single", "one stream, tokens/s"),
        rate("decode_tokens_per_s", f"{plan.num_seqs} streams, tokens/s"),
        rate("tokens_per_s", "with prefill, tokens/s"),
    ]
    if plan.cost_per_million_tokens is not None:
        lines.append(f"{'a million tokens':<22} {plan.cost_per_million_tokens:.3f}, generated ones, at full load")
    return [*lines, f"{'verdict':<22} fits; rates are roofline estimates, not measurements"]
