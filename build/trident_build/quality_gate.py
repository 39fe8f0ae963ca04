"""How good an engine is, measured before it is installed, where its recipe says how good it must be.

The measuring runs in a process of its own (see `child`): it loads the engine, and the checkpoint it was made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trident.errors import RecipeError
from trident.evaluate.quality import check_quality, measure_quality
from trident.manifest import EngineKind
from trident_build.child import report_steps, run_in_child, serve_actions
from trident_build.plan import Plan
from trident_build.progress import Progress

MODULE = "trident_build.quality_gate"


def check_bounds(plan: Plan) -> None:
    """Refuse bounds that nothing here can measure, before anything is built.

    Raises:
        RecipeError: a kind that gives no log-probabilities here, or nothing to compare with.
    """
    recipe = plan.recipe
    if not has_bounds(plan):
        return
    if recipe.kind is not EngineKind.OPENVINO:
        raise RecipeError(
            f"recipe {recipe.name}: [quality] is measured on engines of kind 'openvino' only; leave it out, and "
            "compare the engine with 'trident eval' where it runs"
        )
    if plan.is_direct and recipe.quality.max_perplexity_ratio is not None:
        raise RecipeError(
            f"recipe {recipe.name}: max_perplexity_ratio compares with a Hugging Face checkpoint, and precision "
            f"'{recipe.precision}' has none; use max_perplexity"
        )


def has_bounds(plan: Plan) -> bool:
    """Whether the recipe says how good its engine must be."""
    return bool(plan.recipe.quality.bounds)


def measure(plan: Plan, engine: Path, checkpoint: Path | None, progress: Progress) -> dict[str, float]:
    """The figures of the engine in its folder, which has its manifest already.

    Raises:
        EngineError: a figure is beyond the recipe's bound; says by how much.
    """
    with progress.stage("quality") as stage:
        asked = plan.recipe.quality
        against = str(checkpoint) if checkpoint is not None and asked.max_perplexity_ratio is not None else None
        request: dict[str, Any] = {"engine": str(engine), "against": against, "text_tokens": asked.text_tokens}
        what = "the engine's quality cannot be measured"
        found: dict[str, float] = run_in_child(what, MODULE, "figures", stage=stage, log=plan.log, **request)
        check_quality(asked.bounds, found)
        stage.note(", ".join(f"{name} {value:g}" for name, value in found.items()))
        return found


def figures(engine: str, against: str | None, text_tokens: int) -> dict[str, float]:
    """In the child: see `trident.evaluate.quality.measure_quality`."""
    other = Path(against) if against else None
    return measure_quality(Path(engine), other, max_tokens=text_tokens, report=report_steps)


if __name__ == "__main__":
    serve_actions(figures)
