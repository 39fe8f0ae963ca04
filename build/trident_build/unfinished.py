"""A build that stopped before trtllm-build, in a folder that can be carried to a machine that has it.

engines/.unfinished-<name>-<version>/          manifest.json as far as it is known, recipe.json, checkpoint/, tokenizer/
engines/.unfinished-<name>-<version>/engine/   what trtllm-build made there
"""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from trident.errors import HostError, RecipeError
from trident.faults import explain_invalid
from trident.manifest import (
    Manifest,
    QuantizationFacts,
    read_manifest,
    verify_files,
    write_manifest,
)
from trident_build.building import Building, Made
from trident_build.describe import describe
from trident_build.directory import BUILDING, file_sums, install, workspace
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import read_json
from trident_build.progress import Progress, Silent, Stage
from trident_build.recipe import FILE_NAME as RECIPE
from trident_build.recipe import Recipe
from trident_build.stages import place_file, place_files
from trident_build.trtllm_build import command, docker_line, shell_line
from trident_build.trtllm_engine import RECORD_GPU, compile_engine, verify_compiled
from trident_build.trtllm_versions import IMAGE, is_available
from trident_build.verify import check_tokenizer

UNFINISHED = ".unfinished-"
CHECKPOINT = "checkpoint"
ENGINE = "engine"
_BEFORE = (RECIPE, CHECKPOINT)  # what an engine does not keep so: its own recipe.json names no places


def leave_unfinished(building: Building, checkpoint: Path, quantization: QuantizationFacts | None) -> HostError:
    """Put everything that trtllm-build and the stages after it need into a folder beside the engines.

    The error that ends this build: it says where the folder is and how to go on.
    """
    plan, folder = building.plan, building.engine
    for path in sorted(checkpoint.iterdir()):
        if path.suffix in {".json", ".safetensors"}:
            place_file(path, folder / CHECKPOINT / path.name)
    manifest = describe(building, Made(quantization))  # adapters are in the folder from here on
    recipe = plan.recipe
    if recipe.lora is not None:
        adapters = {name: Path(path) for name, path in manifest.loras.items()}
        recipe = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"adapters": adapters})})
    (folder / RECIPE).write_text(recipe.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_manifest(folder, manifest.model_copy(update={"files": file_sums(folder)}))
    target = plan.engines / f"{UNFINISHED}{recipe.name}-{plan.version}"
    shutil.rmtree(target, ignore_errors=True)
    folder.rename(target)
    return _how_to_go_on(recipe, target)


def _how_to_go_on(recipe: Recipe, folder: Path) -> HostError:
    folder, checkpoint, engine = folder.absolute(), Path(CHECKPOINT), Path(ENGINE)  # `cd` would mislead a relative one
    return HostError(
        f"trtllm-build is not on this machine; all before it is done, in {folder}. On a GPU of the kind that will "
        f"serve: cd {folder} && mkdir -p {engine} && {RECORD_GPU.format(engine)}; then inside {IMAGE}: "
        f"{shell_line(command(recipe, checkpoint, engine))}; or with Docker: "
        f"{docker_line(recipe, folder, checkpoint, engine)}; then, here or there: trident build --resume {folder}"
    )


def resume_engine(folder: Path, engines: Path, progress: Progress | None = None) -> Path:
    """Finish the build that was left in `folder`, and return the engine's directory.

    Raises:
        ManifestError: not such a folder, or a file in it is missing or damaged.
        HostError: trtllm-build is not here either, and nobody has run it by hand.
        RecipeError: trtllm-build failed.
        EngineError: the engine is not what the recipe says.
    """
    progress = progress or Silent()
    with progress.stage("check") as stage:
        manifest = read_manifest(folder)
        recipe = _read_recipe(folder)
        verify_files(folder, manifest)
        stage.note(f"{len(manifest.files)} files as they were left")
    compiled = folder / ENGINE
    if not any(compiled.glob("*.engine")):
        with progress.stage("compile") as stage:
            if not is_available():
                raise _how_to_go_on(recipe, folder)
            with workspace(folder, BUILDING, ENGINE) as work:
                compile_engine(recipe, folder / CHECKPOINT, work, stage=stage, log=folder / "build.log")
                shutil.rmtree(compiled, ignore_errors=True)
                work.rename(compiled)
    target = engines / manifest.name / manifest.version
    with workspace(engines, BUILDING, manifest.name) as work:
        engine = work / ENGINE
        for name in manifest.files:
            if Path(name).parts[0] not in _BEFORE:
                place_file(folder / name, engine / name)
        with progress.stage("verify") as stage:
            made = take_compiled(recipe, compiled, engine, _facts(folder, manifest), manifest.quantization, stage)
        recipe.write(engine)
        _finish(manifest, made, engine)
        with progress.stage("install") as stage:
            install(engine, target)
            stage.note(f"{target}")
    if folder.parent.resolve() == engines.resolve():
        shutil.rmtree(folder)
    return target


def take_compiled(
    recipe: Recipe,
    compiled: Path,
    engine: Path,
    facts: ModelFacts,
    quantization: QuantizationFacts | None,
    stage: Stage,
) -> Made:
    """Put the files that trtllm-build made into the engine's folder, and compare them with the recipe.

    Raises:
        EngineError: the engine is not what the recipe says, or the tokenizer is not right.
    """
    place_files(compiled, engine)
    found = verify_compiled(recipe, engine)
    _, texts = check_tokenizer(engine, facts)
    stage.note(f"config.json is as the recipe; {len(texts)} texts come back from their token ids")
    return Made(quantization, (("tensorrt_llm", found.version),), found.gpu_architecture, found.image_digest)


def _read_recipe(folder: Path) -> Recipe:
    try:
        recipe = Recipe.model_validate_json((folder / RECIPE).read_text(encoding="utf-8"))
    except OSError as exc:
        raise RecipeError(f"{folder} was not left by an unfinished build: {RECIPE} cannot be read") from exc
    except ValidationError as exc:
        raise RecipeError(f"{folder / RECIPE}: {explain_invalid(exc, Recipe)}") from exc
    if recipe.lora is None:
        return recipe
    adapters = {name: folder / path for name, path in recipe.lora.adapters.items()}
    return recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"adapters": adapters})})


def _facts(folder: Path, manifest: Manifest) -> ModelFacts:
    added = read_json(folder / "tokenizer" / "tokenizer.json").get("added_tokens", [])
    return ModelFacts(
        architecture="",
        precision=manifest.precision,
        context_tokens=manifest.limits.max_seq_tokens,
        tokens=manifest.tokens,
        special_tokens={token["content"]: token["id"] for token in added if token.get("special")},
    )


def _finish(manifest: Manifest, made: Made, engine: Path) -> None:
    finished = manifest.model_copy(
        update={
            "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "tools": {**manifest.tools, **dict(made.tools)},
            "gpu_architecture": made.gpu_architecture,
            "image_digest": made.image_digest,
            "files": file_sums(engine),
        }
    )
    write_manifest(engine, finished)
