"""Stages of an OpenVINO engine: from a GGUF file as it is, or from a Hugging Face checkpoint through NNCF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from trident.manifest import QuantizationFacts
from trident_build.building import GGUF_CHECKPOINT, Building, Made, hf_folder
from trident_build.calibration import cut_samples
from trident_build.capacity import check_memory
from trident_build.child import run_in_child, shown_command
from trident_build.facts import GROUP_SIZES, ModelFacts, choose_group_size
from trident_build.hf_checkpoint import write_tokenizer_files
from trident_build.openvino_process import MODULE, convert
from trident_build.origin import GGUF
from trident_build.plan import Plan
from trident_build.progress import Stage
from trident_build.stages import place_file, place_files
from trident_build.tokenizer import convert_tokenizer, write_tokenizer
from trident_build.verify import verify_engine

EXPORT = "trident_build.optimum_export"
EXPORT_MEMORY = 4  # of the checkpoint's size: PyTorch's copy, OpenVINO's in 32 bits, and what NNCF works on
_ALGORITHMS = {"int8": "int8_asym", "int4": "int4_asym"}


def make_openvino(building: Building) -> Made:
    """Fill the engine's folder, and verify what is in it."""
    made = _from_gguf(building) if building.plan.is_direct else _from_checkpoint(building)
    with building.progress.stage("verify") as stage:
        plan = building.plan
        verify_engine(building.engine, building.facts, stage, is_exact=plan.is_direct, log=plan.log)
    return made


def _from_gguf(building: Building) -> Made:
    plan, metadata = building.plan, building.metadata
    assert metadata is not None  # noqa: S101 - only such a source is direct

    def work(folder: Path) -> None:
        place_file(building.origin.path, folder / GGUF)
        convert(folder / GGUF, log=plan.log)
        (folder / GGUF).unlink()

    with building.progress.stage("compile") as stage:
        stage.note(f"OpenVINO {plan.tools['openvino']}")
        place_files(plan.stages.make("compile", plan.compile_inputs(), work, stage), building.engine)
        write_tokenizer(metadata, convert_tokenizer(metadata), building.engine)
    return Made()


def _from_checkpoint(building: Building) -> Made:
    plan = building.plan
    checkpoint, facts = hf_folder(building)
    with building.progress.stage("quantize") as stage:
        request, quantization = _export_request(plan, checkpoint, facts)
        stage.note(_quantized_text(plan, request))

        def export(folder: Path) -> None:
            check_memory("to export this model", EXPORT_MEMORY * facts.weights_bytes)
            _in_child(plan, stage, "export", output=str(folder), **request)

        exported = plan.stages.make("quantize", plan.quantize_inputs(), export, stage)
        for path in exported.glob("openvino_model.*"):
            place_file(path, building.engine / path.name)
        place_file(checkpoint / "config.json", building.engine / "config.json", is_ours=False)
    with building.progress.stage("compile") as stage:
        stage.note(f"tokenizers, OpenVINO {plan.tools['openvino']}")

        def tokenizers(folder: Path) -> None:
            _in_child(plan, stage, "export_tokenizers", output=str(folder), checkpoint=str(checkpoint))

        place_files(plan.stages.make("compile", plan.compile_inputs(), tokenizers, stage), building.engine)
        write_tokenizer_files(checkpoint, building.engine, facts.tokens)
    return Made(quantization, checkpoint=checkpoint)


def _export_request(plan: Plan, checkpoint: Path, facts: ModelFacts) -> tuple[dict[str, Any], QuantizationFacts | None]:
    recipe, asked = plan.recipe, plan.recipe.quantization
    group_size = choose_group_size(recipe, facts) if recipe.precision == "int4" else None
    samples = []
    if plan.uses_calibration:
        samples = cut_samples(recipe.calibration, Tokenizer.from_file(str(checkpoint / "tokenizer.json")))
    request = {
        "checkpoint": str(checkpoint),
        "precision": recipe.precision,
        "group_size": group_size,
        "awq": asked.awq,
        "scale_estimation": asked.scale_estimation,
        "samples": samples,
        "exclude": list(asked.exclude),
    }
    if recipe.precision not in _ALGORITHMS:
        return request, None
    options = [name for name in ("awq", "scale_estimation") if request[name]]
    return request, QuantizationFacts(
        algorithm="+".join([_ALGORITHMS[recipe.precision], *options]),
        group_size=group_size,
        calibration_samples=len(samples),
        calibration_sha256=plan.inputs.get("calibration"),
    )


def _quantized_text(plan: Plan, request: dict[str, Any]) -> str:
    group = f", groups of {request['group_size']}" if request["group_size"] else ""
    data = f", {len(request['samples'])} samples" if request["samples"] else ""
    return f"{plan.recipe.precision}{group}{data}"


def _in_child(plan: Plan, stage: Stage, action: str, **request: Any) -> None:
    run_in_child("optimum-intel cannot export this model", EXPORT, action, stage=stage, log=plan.log, **request)


def openvino_steps(plan: Plan) -> list[tuple[str, str]]:
    """(stage, what it will do), for a dry run."""
    compiled = plan.stage_path("compile", plan.compile_inputs)
    verify = ("verify", "same token ids as OpenVINO's own tokenizer, ends, a first completion")
    if plan.is_direct:
        command = shown_command(MODULE, "convert", gguf=str(compiled / GGUF))
        return [
            ("compile", f"to OpenVINO {plan.tools['openvino']}, and its vocabulary to tokenizer.json\n$ {command}"),
            verify,
        ]
    asked = plan.recipe.quantization
    checkpoint = checkpoint_path(plan)
    calibration = plan.recipe.calibration
    sizes = " or ".join(map(str, GROUP_SIZES))  # whichever divides every layer
    request = {
        "checkpoint": str(checkpoint),
        "output": str(plan.stage_path("quantize", plan.quantize_inputs)),
        "precision": plan.recipe.precision,
        "group_size": (asked.group_size or f"<{sizes}>") if plan.recipe.precision == "int4" else None,
        "awq": asked.awq,
        "scale_estimation": asked.scale_estimation,
        "samples": [f"<{calibration.num_samples} texts>"] if plan.uses_calibration else [],
        "exclude": list(asked.exclude),
    }
    tokenizers = shown_command(EXPORT, "export_tokenizers", checkpoint=str(checkpoint), output=str(compiled))
    return [
        *checkpoint_steps(plan),
        ("quantize", f"weights to {plan.recipe.precision} by NNCF\n$ {shown_command(EXPORT, 'export', **request)}"),
        ("compile", f"tokenizer to OpenVINO {plan.tools['openvino']}\n$ {tokenizers}"),
        verify,
    ]


def checkpoint_path(plan: Plan) -> Path:
    """Where the Hugging Face checkpoint lies, or will."""
    if plan.needs_checkpoint:
        return plan.stage_path("checkpoint", plan.checkpoint_inputs)
    return Path(getattr(plan.recipe.source, "path", Path("<snapshot>")))


def checkpoint_steps(plan: Plan) -> list[tuple[str, str]]:
    """The step that makes one of a GGUF file, or none."""
    if not plan.needs_checkpoint:
        return []
    request = {"gguf": GGUF, "output": str(checkpoint_path(plan))}
    command = shown_command(GGUF_CHECKPOINT, "write_checkpoint", **request)
    return [("checkpoint", f"GGUF to a Hugging Face checkpoint, by transformers\n$ {command}")]
