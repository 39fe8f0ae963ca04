"""A simulated engine: somebody's tokenizer, a text that says what it is, and step times. No weights.

It stands in for `convert` and `verify` of an engine with a model.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from trident.engines.replay_settings import FILE_NAME, ReplayOptions, ReplaySettings, read_replay_settings
from trident.engines.replay_timing import read_preset
from trident.errors import EngineError
from trident_build.building import Building, Made
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import write_tokenizer_files
from trident_build.plan import Plan
from trident_build.progress import Stage
from trident_build.replay_options import read_options
from trident_build.tokenizer import convert_tokenizer, write_tokenizer
from trident_build.verify import check_tokenizer

# Said over and over, so it ends where it can begin again.
ANSWER = (
    "This answer is simulated by Trident's replay engine. No model has read the prompt, and these words are the same "
    "for every request; only the times at which they arrive mean something. They follow a model of how long one step "
    "of an engine takes for the sequences that share it. What is measured with it holds for everything around an "
    "engine, and says nothing about the quality of any model.\n\n"
)


def write_replay(options: ReplayOptions, tokenizer: Tokenizer, engine: Path) -> None:
    """Write `replay.toml` into the directory `engine`."""
    settings = ReplaySettings(
        **options.model_dump(),
        answer_ids=tuple(tokenizer.encode(ANSWER, add_special_tokens=False).ids),
        timing=read_preset(options.preset),
    )
    (engine / FILE_NAME).write_text(settings.to_toml(), encoding="utf-8")


def make_replay(building: Building) -> Made:
    """Fill the engine's folder, and verify what is in it."""
    options = read_options(building.plan.recipe)
    with building.progress.stage("compile") as stage:
        if building.metadata is None:
            write_tokenizer_files(building.origin.path, building.engine, building.facts.tokens)
        else:
            write_tokenizer(building.metadata, convert_tokenizer(building.metadata), building.engine)
        write_replay(
            options, Tokenizer.from_file(str(building.engine / "tokenizer" / "tokenizer.json")), building.engine
        )
        stage.note(f"step times of preset {options.preset}")
    with building.progress.stage("verify") as stage:
        verify_replay(building.engine, building.facts, stage)
    return Made()


def replay_steps(plan: Plan) -> list[tuple[str, str]]:
    """(stage, what it will do), for a dry run."""
    preset = plan.recipe.options["preset"]
    return [
        ("compile", f"its vocabulary to tokenizer.json, preset {preset} to replay.toml"),
        ("verify", "texts come back from their token ids"),
    ]


def verify_replay(engine: Path, facts: ModelFacts, stage: Stage) -> None:
    """Read back what was written: the tokenizer loses nothing, and the answer reads as it should.

    Raises:
        EngineError: the first text that does not come back.
    """
    tokenizer, texts = check_tokenizer(engine, facts)
    settings = read_replay_settings(engine)
    said = tokenizer.decode(list(settings.answer_ids))
    if said != ANSWER:
        raise EngineError(f"the answer of the replay engine comes back as {said!r}")
    step_ms = 1000 * settings.timing.step_s(1, 1, 0)
    stage.note(f"{len(texts)} texts come back; an answer of {len(settings.answer_ids)} tokens, {step_ms:.2f} ms a step")
