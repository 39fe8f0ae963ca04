"""`trident build`: from a recipe to an engine directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trident.errors import RecipeError

if TYPE_CHECKING:
    from trident_build import Recipe


def build(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="[RECIPE]", help="name of a shipped recipe, such as smollm2-135m, or a .toml file"),
    ] = None,
    *,
    engines: Annotated[Path | None, typer.Option(help="folder of engines", show_default="engines")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the stages and their commands, do nothing")] = False,
    force: Annotated[bool, typer.Option("--force", help="build again what is there already")] = False,
    register: Annotated[bool, typer.Option("--register", help="log it in the registry beside the engines")] = False,
    resume: Annotated[Path | None, typer.Option(help="finish what a build left for another machine in DIR")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="write the model as a Hugging Face checkpoint into this new folder, and stop")
    ] = None,
) -> None:
    """Build an engine: fetch, inspect, quantize, compile, verify, install."""
    from trident.settings import read_settings
    from trident_build import ConsoleProgress, build_engine, find_recipe, read_recipe, resume_engine

    settings = read_settings(engines=engines)
    if (recipe is None) == (resume is None):
        raise RecipeError("say what to build: a RECIPE, or --resume with a folder that a build left")
    if resume is not None:
        _check_alone("--resume", {"--dry-run": dry_run, "--force": force, "--checkpoint": checkpoint})
        _tell(resume_engine(resume, settings.engines, ConsoleProgress()), engines, register)
        return
    what = read_recipe(find_recipe(recipe or ""))
    if dry_run:
        _check_alone("--dry-run", {"--force": force, "--register": register, "--checkpoint": checkpoint})
        _print_steps(what, settings.engines)
    elif checkpoint is not None:
        from trident_build import build_checkpoint

        _check_alone("--checkpoint", {"--force": force, "--register": register})
        print(f"{what.source.model} is in {build_checkpoint(what, checkpoint, ConsoleProgress())}")
    else:
        _tell(build_engine(what, settings.engines, ConsoleProgress(), force=force), engines, register)


def _check_alone(option: str, others: Mapping[str, Path | bool | None]) -> None:
    """Nothing that was asked for is left out in silence."""
    for name, given in others.items():
        if given:
            raise RecipeError(f"{name} does not go with {option}; leave one of them out")


def _print_steps(recipe: Recipe, engines: Path) -> None:
    from trident_build import build_steps, plan_engine

    for stage, text in build_steps(plan_engine(recipe, engines, is_dry=True)):
        print(f"  {stage:<10} {text}".replace("\n", "\n" + " " * 13))


def _tell(directory: Path, engines: Path | None, register: bool) -> None:
    """Register the engine when asked to; say where it is, and what to do next."""
    from trident.manifest import EngineKind, read_manifest
    from trident.settings import Settings

    if register:
        from trident import registry

        registry.register(directory, registry.default_uri(directory.parents[1]))
    name = directory.parent.name
    role = "embedding" if read_manifest(directory).kind is EngineKind.OPENVINO_EMBEDDING else "engine"
    options = "" if name == Settings.model_fields[role].default else f" --{role} {name}"
    if engines is not None:
        options += f" --engines {engines}"
    print(f"engine {name}@{directory.name} is ready in {directory}; next: trident serve{options}")
