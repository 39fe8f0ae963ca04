"""A build under way: what every kind of engine is handed, and the step that some of them share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.manifest import QuantizationFacts
from trident_build.capacity import check_memory
from trident_build.child import run_in_child
from trident_build.facts import ModelFacts
from trident_build.gguf_file import GgufMetadata
from trident_build.hf_checkpoint import read_checkpoint
from trident_build.origin import Origin
from trident_build.plan import Plan
from trident_build.progress import Progress

GGUF_CHECKPOINT = "trident_build.gguf_checkpoint"
CHECKPOINT_MEMORY = 10  # of a GGUF's size: its values in 32 bits, and a copy in 16


@dataclass(frozen=True)
class Building:
    """Everything that the stages of one kind need."""

    plan: Plan
    origin: Origin
    facts: ModelFacts
    metadata: GgufMetadata | None  # of a GGUF source
    engine: Path  # the folder that becomes the engine
    progress: Progress


@dataclass(frozen=True)
class Made:
    """What a kind's stages tell the manifest."""

    quantization: QuantizationFacts | None = None
    tools: tuple[tuple[str, str], ...] = ()  # that took part, beside the plan's own
    gpu_architecture: str | None = None
    image_digest: str | None = None
    checkpoint: Path | None = None  # in Hugging Face's form, which the engine's quality is compared with


def hf_folder(building: Building) -> tuple[Path, ModelFacts]:
    """The model as a Hugging Face checkpoint, and its facts as that form tells them."""
    plan = building.plan
    if not plan.needs_checkpoint:
        return building.origin.path, building.facts

    def work(folder: Path) -> None:
        check_memory("to read this GGUF file", CHECKPOINT_MEMORY * building.facts.weights_bytes)
        request: dict[str, Any] = {"gguf": str(building.origin.path), "output": str(folder)}
        what = "transformers cannot read this GGUF file"
        run_in_child(what, GGUF_CHECKPOINT, "write_checkpoint", stage=stage, log=plan.log, **request)

    with building.progress.stage("checkpoint") as stage:
        stage.note("GGUF to a Hugging Face checkpoint")
        folder = plan.stages.make("checkpoint", plan.checkpoint_inputs(), work, stage)
        return folder, read_checkpoint(folder)
