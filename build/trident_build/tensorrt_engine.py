"""Stages of the engines of NVIDIA's kinds: a checkpoint by ModelOpt, and for `tensorrt_llm` an engine by trtllm-build.

Where trtllm-build is not, everything up to it is done, and the rest goes on elsewhere (see `unfinished`).
"""

from __future__ import annotations

from pathlib import Path

from trident.manifest import EngineKind, QuantizationFacts
from trident_build.building import Building, Made, hf_folder
from trident_build.capacity import check_memory
from trident_build.checkpoint_formats import FORMATS, layout_of
from trident_build.checkpoint_report import FILE_NAME as REPORT
from trident_build.checkpoint_report import TABLE_NAME as REPORT_TABLE
from trident_build.checkpoint_verify import verify_checkpoint
from trident_build.child import shown_command
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import TOKENIZER_FILES, read_checkpoint, write_tokenizer_files
from trident_build.modelopt_process import MODULE, export_checkpoint, num_shown
from trident_build.openvino_engine import checkpoint_path, checkpoint_steps
from trident_build.plan import Plan
from trident_build.sources import CHECKPOINT_SUFFIXES, FolderSource
from trident_build.stages import place_file
from trident_build.trtllm_build import command, shell_line
from trident_build.trtllm_engine import compile_engine
from trident_build.trtllm_versions import is_available
from trident_build.unfinished import leave_unfinished, take_compiled
from trident_build.verify import check_tokenizer

CHECKPOINT = "checkpoint"  # in the output of `quantize`, beside FACTS
FACTS = "quantization.json"
MODELOPT_MEMORY = 3  # of the checkpoint's size: PyTorch's copy, ModelOpt's scales, the exported one
_NOT_CARRIED = {*TOKENIZER_FILES, "generation_config.json"}


def make_tensorrt(building: Building) -> Made:
    """Fill the engine's folder, and verify what is in it.

    Raises:
        HostError: trtllm-build is not on this machine; says where the rest can be done, and how.
    """
    plan = building.plan
    checkpoint, facts = hf_folder(building)
    write_tokenizer_files(checkpoint, building.engine, facts.tokens)
    quantization = None
    if plan.needs_modelopt:
        quantized = _quantize(building, checkpoint, facts)
        checkpoint, quantization = quantized / CHECKPOINT, _facts(quantized)
        for name in (REPORT, REPORT_TABLE):
            place_file(quantized / name, building.engine / name)
    if plan.recipe.kind is EngineKind.TENSORRT_LLM_PYTORCH:
        return _take_checkpoint(building, checkpoint, quantization)
    with building.progress.stage("compile") as stage:
        if not is_available():
            raise leave_unfinished(building, checkpoint, quantization)

        def compile_into(folder: Path) -> None:
            compile_engine(plan.recipe, checkpoint, folder, stage=stage, log=plan.log)

        compiled = plan.stages.make("compile", plan.compile_inputs(), compile_into, stage)
    with building.progress.stage("verify") as stage:
        return take_compiled(plan.recipe, compiled, building.engine, facts, quantization, stage)


def _quantize(building: Building, checkpoint: Path, facts: ModelFacts) -> Path:
    plan = building.plan
    recipe = plan.recipe
    layout = layout_of(recipe.kind)

    def work(folder: Path) -> None:
        check_memory("to quantize this model", MODELOPT_MEMORY * facts.weights_bytes)
        done = export_checkpoint(
            checkpoint,
            folder / CHECKPOINT,
            precision=recipe.precision,
            quantization=recipe.quantization,
            calibration=recipe.calibration,
            parallelism=recipe.parallelism,
            layout=layout,
            stage=stage,
            log=plan.log,
        )
        said = QuantizationFacts(
            algorithm=done.algorithm or "none",
            group_size=done.group_size,
            calibration_samples=done.num_samples,
            calibration_sha256=plan.inputs.get("calibration") if done.num_samples else None,
        )
        report = verify_checkpoint(
            checkpoint,
            folder / CHECKPOINT,
            precision=recipe.precision,
            quantization=recipe.quantization,
            parallelism=recipe.parallelism,
            layout=layout,
            stage=stage,
        )
        report.require()
        stage.note(report.summary())
        report.write(folder)
        (folder / FACTS).write_text(said.model_dump_json(indent=2) + "\n", encoding="utf-8")

    with building.progress.stage("quantize") as stage:
        stage.note(_quantized_text(plan))
        return plan.stages.make("quantize", plan.quantize_inputs(), work, stage)


def _facts(quantized: Path) -> QuantizationFacts | None:
    said = QuantizationFacts.model_validate_json((quantized / FACTS).read_text(encoding="utf-8"))
    return None if said.algorithm == "none" else said


def _take_checkpoint(building: Building, checkpoint: Path, quantization: QuantizationFacts | None) -> Made:
    """A checkpoint is this engine: its files, without those that an engine keeps elsewhere."""
    is_ours = building.plan.needs_modelopt or not isinstance(building.plan.recipe.source, FolderSource)
    for path in sorted(checkpoint.iterdir()):
        is_part = path.suffix in CHECKPOINT_SUFFIXES and path.name not in _NOT_CARRIED
        if is_part and not path.name.startswith((".", "consolidated")):
            place_file(path, building.engine / path.name, is_ours=is_ours)
    with building.progress.stage("verify") as stage:
        _, texts = check_tokenizer(building.engine, building.facts)
        read_checkpoint(checkpoint)  # what was written is whole
        stage.note(f"tensors are whole; {len(texts)} texts come back from their token ids")
    return Made(quantization)


def _quantized_text(plan: Plan) -> str:
    cache = plan.recipe.quantization.kv_cache
    parallelism = plan.recipe.parallelism
    spread = f", {parallelism.world_size} ranks" if parallelism.world_size > 1 else ""
    return f"{plan.recipe.precision}{f', KV cache {cache}' if cache else ''}{spread}, by ModelOpt"


def _quantize_command(plan: Plan, checkpoint: Path, quantized: Path) -> str:
    """What is known of it before the model is: the rest stands in angle brackets."""
    recipe, asked = plan.recipe, plan.recipe.quantization
    grouped = asked.group_size or "<that divides every layer>"
    num_samples = num_shown(recipe.precision, recipe.calibration)
    request = {
        "source": str(checkpoint),
        "output": str(quantized / CHECKPOINT),
        "layout": layout_of(recipe.kind),
        "decoder": "<of the model>",
        "precision": recipe.precision,
        "group_size": grouped if FORMATS[recipe.precision].is_grouped else None,
        "kv_cache": asked.kv_cache,
        "exclude": list(asked.exclude),
        "samples": [f"<{num_samples} texts>"] if plan.uses_calibration else [],
        "batch_size": recipe.calibration.batch_size,
        **recipe.parallelism.model_dump(),
    }
    return shown_command(MODULE, "export", **request)


def tensorrt_steps(plan: Plan) -> list[tuple[str, str]]:
    """(stage, what it will do), for a dry run.

    Raises:
        RecipeError: trtllm-build would refuse the recipe.
    """
    checkpoint = checkpoint_path(plan)
    steps = checkpoint_steps(plan)
    if plan.needs_modelopt:
        quantized = plan.stage_path("quantize", plan.quantize_inputs)
        steps.append(("quantize", f"{_quantized_text(plan)}\n$ {_quantize_command(plan, checkpoint, quantized)}"))
        checkpoint = quantized / CHECKPOINT
    if plan.recipe.kind is EngineKind.TENSORRT_LLM_PYTORCH:
        return [*steps, ("verify", "tensors are whole, texts come back from their token ids")]
    compiled = plan.stage_path("compile", plan.compile_inputs)
    where = "" if is_available() else " (not on this machine: the build stops here and says how to go on)"
    line = shell_line(command(plan.recipe, checkpoint, compiled))
    return [
        *steps,
        ("compile", f"a TensorRT engine, by trtllm-build{where}\n$ {line}"),
        ("verify", "the engine's config.json against the recipe, texts come back from their token ids"),
    ]
