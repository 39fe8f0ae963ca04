"""The stages in their order: fetch, inspect, checkpoint, quantize, compile, verify, manifest, quality, install.

What a stage does is in the module of its noun; here is only what goes from one to the next. Each kind of engine has a
module with the stages between `inspect` and `manifest`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from trident.engines.openvino_limits import check_speculation
from trident.errors import HostError, ManifestError, RecipeError
from trident.manifest import EngineKind, read_manifest, verify_files, write_manifest
from trident.versions import promote
from trident_build.building import Building, Made, hf_folder
from trident_build.capacity import check_disk
from trident_build.checkpoint_formats import Shape, check_format, layout_of
from trident_build.describe import describe
from trident_build.directory import BUILDING, install, workspace
from trident_build.embedding_checkpoint import read_embedding_checkpoint
from trident_build.embedding_engine import embedding_steps, make_embedding
from trident_build.facts import ModelFacts, check_limits, choose_group_size, resolve_limits
from trident_build.gguf_file import GgufMetadata, read_gguf
from trident_build.hf_checkpoint import read_checkpoint, read_json
from trident_build.lora import check_loras
from trident_build.openvino_engine import make_openvino, openvino_steps
from trident_build.origin import Origin, fetch, fetch_text
from trident_build.plan import NOT_INSTALLED, Plan, plan_engine
from trident_build.progress import LoggedProgress, Progress, Silent
from trident_build.quality_gate import check_bounds, has_bounds, measure
from trident_build.recipe import Recipe
from trident_build.replay import make_replay, replay_steps
from trident_build.sources import WheelSource
from trident_build.stages import place_files
from trident_build.tensorrt_engine import make_tensorrt, tensorrt_steps
from trident_build.tokenizer import check_supported, facts_of

DISK_FACTOR = 3  # the source's copy, the engine and some air, in sizes of the source
_MAKERS: dict[EngineKind, Callable[[Building], Made]] = {
    EngineKind.OPENVINO: make_openvino,
    EngineKind.OPENVINO_EMBEDDING: make_embedding,
    EngineKind.REPLAY: make_replay,
    EngineKind.TENSORRT_LLM: make_tensorrt,
    EngineKind.TENSORRT_LLM_PYTORCH: make_tensorrt,
}
_STEPS: dict[EngineKind, Callable[[Plan], list[tuple[str, str]]]] = {
    EngineKind.OPENVINO: openvino_steps,
    EngineKind.OPENVINO_EMBEDDING: embedding_steps,
    EngineKind.REPLAY: replay_steps,
    EngineKind.TENSORRT_LLM: tensorrt_steps,
    EngineKind.TENSORRT_LLM_PYTORCH: tensorrt_steps,
}


def build_steps(plan: Plan) -> list[tuple[str, str]]:
    """(stage, what it will do) of every stage, for a dry run; a line that begins with "$ " is a command as it will run.

    Raises:
        RecipeError: the engine's compiler would refuse the recipe, or nothing here can measure its bounds.
    """
    check_bounds(plan)
    missing = [tool for tool, found in plan.tools.items() if found == NOT_INSTALLED]
    install_line = f"{', '.join(missing)}: pip install 'trident-llm[cpu,build]'"
    version = plan.version if plan.identity and not missing else "<version>"
    target = plan.engines / plan.recipe.name / version
    state = "there already, only verified" if plan.identity and target.is_dir() else "new"
    return [
        *([("missing", install_line)] if missing else []),
        ("fetch", fetch_text(plan.recipe, plan.cache)),
        ("inspect", f"{plan.recipe.source.model}: tokenizer, context, precision {plan.recipe.precision}"),
        *_STEPS[plan.recipe.kind](plan),
        ("manifest", "limits, ids that end a text, sha256 of every file"),
        *([("quality", _bounds_text(plan))] if has_bounds(plan) else []),
        ("install", f"{target} ({state}); current -> {version}"),
    ]


def _bounds_text(plan: Plan) -> str:
    return ", ".join(f"{name} {bound:g}" for name, bound in plan.recipe.quality.bounds.items())


def build_engine(
    recipe: Recipe, engines: Path, progress: Progress | None = None, *, cache: Path | None = None, force: bool = False
) -> Path:
    """Build the engine of `recipe`, make it current, and return its directory `engines/<name>/<version>`.

    An engine of that version with all its files intact is built again only by `force`.

    Raises:
        RecipeError: the recipe, or what it points at.
        HostError: offline, disk, memory, a missing tool.
        EngineError: the engine fails its verification.
    """
    plan = plan_engine(recipe, engines, cache)
    check_bounds(plan)
    try:
        told = _logged(plan, progress)
        if plan.identity is not None and not force and _is_ready(plan, told):
            return plan.directory
        if isinstance(recipe.source, WheelSource):
            check_disk(engines, DISK_FACTOR * recipe.source.size_bytes)
        with workspace(engines, BUILDING, recipe.name) as folder:
            return _build(plan, folder, told, force)
    except OSError as exc:
        raise HostError(f"the build cannot go on: {exc.strerror or exc} ({exc.filename})") from exc


def build_checkpoint(
    recipe: Recipe, folder: Path, progress: Progress | None = None, *, cache: Path | None = None
) -> Path:
    """Write the model of `recipe` as a Hugging Face checkpoint into the new folder `folder`, and return it.

    Raises:
        RecipeError: the recipe, or what it points at; or there is something at `folder`.
        HostError: offline, disk, memory, a missing tool.
    """
    if folder.exists():
        raise RecipeError(f"{folder} is there already; name a new folder")
    plan = plan_engine(recipe, folder.parent, cache)
    if recipe.has_gguf_source and not plan.needs_checkpoint:
        raise RecipeError(
            f"recipe {recipe.name} takes its GGUF file as it is; name one of the same source that needs a checkpoint, "
            "with precision 'int8'"
        )
    try:
        told = _logged(plan, progress)
        with workspace(folder.absolute().parent, BUILDING, recipe.name) as work:
            with told.stage("fetch") as stage:
                origin = fetch(recipe, plan.cache, work, stage, plan.log)
            plan = dataclasses.replace(plan, identity=origin.identity)
            metadata, facts = inspect(plan, origin)
            checkpoint, _ = hf_folder(Building(plan, origin, facts, metadata, work, told))
            place_files(checkpoint, work / "checkpoint")
            (work / "checkpoint").rename(folder)
    except OSError as exc:
        raise HostError(f"the build cannot go on: {exc.strerror or exc} ({exc.filename})") from exc
    return folder


def _logged(plan: Plan, progress: Progress | None) -> LoggedProgress:
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    logged = LoggedProgress(progress or Silent(), plan.log)
    logged.line(f"build of {plan.recipe.name}, tools {dict(plan.tools)}")
    return logged


def _is_ready(plan: Plan, progress: Progress) -> bool:
    """Whether the engine is there already; then it is made current."""
    if not plan.directory.is_dir():
        return False
    with progress.stage("check") as stage:
        try:
            verify_files(plan.directory, read_manifest(plan.directory))
        except ManifestError as exc:
            stage.note(f"{exc.message}: doing so")
            return False
        stage.note(f"{plan.directory} is there already, every file as its manifest says")
        promote(plan.directory)
        return True


def _build(plan: Plan, folder: Path, progress: Progress, force: bool) -> Path:
    with progress.stage("fetch") as stage:
        origin = fetch(plan.recipe, plan.cache, folder, stage, plan.log)
    if plan.identity is None:
        plan = dataclasses.replace(plan, identity=origin.identity)
        if not force and _is_ready(plan, progress):
            return plan.directory
    with progress.stage("inspect") as stage:
        metadata, facts = inspect(plan, origin)
        stage.note(f"{facts.architecture}, {facts.precision}, context of {facts.context_tokens} tokens")
    check_disk(plan.engines, DISK_FACTOR * facts.weights_bytes)
    engine = folder / "engine"
    engine.mkdir()
    building = Building(plan, origin, facts, metadata, engine, progress)
    made = _MAKERS[plan.recipe.kind](building)
    with progress.stage("manifest") as stage:
        manifest = describe(building, made)
        write_manifest(engine, manifest)
        size_bytes = sum((engine / name).stat().st_size for name in manifest.files)
        stage.note(f"{len(manifest.files)} files, {size_bytes / 1e6:.1f} MB")
    if has_bounds(plan):
        quality = measure(plan, engine, made.checkpoint, progress)
        write_manifest(engine, manifest.model_copy(update={"quality": quality}))
    with progress.stage("install") as stage:
        install(engine, plan.directory)
        stage.note(f"{plan.directory}")
    return plan.directory


def inspect(plan: Plan, origin: Origin) -> tuple[GgufMetadata | None, ModelFacts]:
    """What the source is, compared with what the recipe asks of it.

    Raises:
        RecipeError: not whole, another precision, limits beyond the context, a group size or an adapter that does not
            fit, or a tokenizer nobody can convert.
    """
    recipe, metadata = plan.recipe, None
    if recipe.has_gguf_source:
        metadata = read_gguf(origin.path)
        check_supported(metadata)
        facts = facts_of(metadata, origin.path.stat().st_size)
    elif recipe.kind is EngineKind.OPENVINO_EMBEDDING:
        facts = read_embedding_checkpoint(origin.path)
    else:
        facts = read_checkpoint(origin.path)
    if recipe.kind is EngineKind.REPLAY:  # of the model it has the tokenizer only
        return metadata, facts
    if plan.is_direct and facts.precision != recipe.precision:
        raise RecipeError(f"recipe {recipe.name}: precision is '{recipe.precision}', the file's is '{facts.precision}'")
    check_limits(recipe, facts)
    if recipe.kind is EngineKind.OPENVINO and recipe.speculation is not None:
        check_speculation(recipe.name, resolve_limits(recipe, facts), recipe.speculation.num_draft_tokens)
    if recipe.kind is EngineKind.OPENVINO and recipe.precision == "int4":
        choose_group_size(recipe, facts)
    if plan.needs_modelopt and not recipe.has_gguf_source:
        shape = Shape.of(read_json(origin.path / "config.json"))
        check_format(shape, recipe.precision, recipe.quantization, recipe.parallelism, layout_of(recipe.kind))
    check_loras(recipe, facts)
    return metadata, facts
