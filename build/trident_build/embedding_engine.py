"""Stages of an embedding engine: a checkpoint of sentence-transformers to a graph, and the proof that it works."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from trident.errors import EngineError
from trident.manifest import RequestLimits
from trident_build.building import Building, Made
from trident_build.child import run_in_child, shown_command
from trident_build.embedding_checkpoint import TOKENIZER_FILES
from trident_build.plan import Plan
from trident_build.progress import Stage

GRAPH = "trident_build.embedding_graph"
# Two of them mean nearly the same; their lengths differ, so that padding is among what is proved.
TEXTS = ("How do I change my password?", "What must I do to reset the password of my account?", "Flour and two eggs.")
_TOLERANCE = 1e-4


def make_embedding(building: Building) -> Made:
    """Fill the engine's folder, and verify what is in it."""
    plan, engine, checkpoint = building.plan, building.engine, building.origin.path
    with building.progress.stage("compile") as stage:
        stage.note(f"OpenVINO {plan.tools['openvino']}, weights in {plan.recipe.precision}")
        what = "OpenVINO cannot build this model"
        request = _graph_request(plan, checkpoint=str(checkpoint), output=str(engine))
        run_in_child(what, GRAPH, "write_graph", stage=stage, log=plan.log, **request)
        (engine / "tokenizer").mkdir()
        for name in TOKENIZER_FILES:
            shutil.copyfile(checkpoint / name, engine / "tokenizer" / name)
    with building.progress.stage("verify") as stage:
        _verify(building, stage)
    return Made()


def _graph_request(plan: Plan, checkpoint: str, output: str) -> dict[str, Any]:
    return {"checkpoint": checkpoint, "output": output, "precision": plan.recipe.precision}


def _verify(building: Building, stage: Stage) -> None:
    """Refuse a graph whose vectors have another length than 1, change by padding, or do not tell texts apart."""
    limits = building.plan.recipe.limits.model_dump(include=set(RequestLimits.model_fields))
    found = run_in_child(
        "OpenVINO cannot run this model", GRAPH, "probe", log=building.plan.log,
        engine=str(building.engine), texts=list(TEXTS), limits=limits, pad_id=building.facts.tokens.pad_id,
    )  # fmt: skip
    together, alone = (np.array(found[how], np.float64) for how in ("together", "alone"))
    if not np.allclose(np.linalg.norm(together, axis=1), 1, atol=_TOLERANCE):
        raise EngineError("the model's vectors are not of length 1")
    if not np.allclose(together, alone, atol=_TOLERANCE):
        raise EngineError("a text's vector depends on the texts that it is computed with")
    alike, other = together[0] @ together[1], together[0] @ together[2]
    if alike <= other:
        raise EngineError(f"{TEXTS[0]!r} is nearer to {TEXTS[2]!r} ({other:.2f}) than to {TEXTS[1]!r} ({alike:.2f})")
    stage.note(f"{together.shape[1]} dimensions; cosine {alike:.2f} of two texts alike, {other:.2f} of two others")


def embedding_steps(plan: Plan) -> list[tuple[str, str]]:
    """(stage, what it will do), for a dry run."""
    command = shown_command(GRAPH, "write_graph", **_graph_request(plan, "<checkpoint>", "<engine>"))
    return [
        ("compile", f"its tensors to a graph of OpenVINO {plan.tools['openvino']}\n$ {command}"),
        ("verify", "vectors of length 1, the same with padding, near for texts alike"),
    ]
