"""What prompt lookup gives one stream: on answers that repeat their prompt, and on answers that do not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trident.bench.engine_side import EngineSide, Say, Workload, equal_fraction, in_turn, side_by_side
from trident.bench.engine_variants import link_engine, loaded
from trident.bench.workload import prompts
from trident.evaluate.quality import held_out_text
from trident.evaluate.speed import Answer
from trident.manifest import PromptLookup, read_manifest

PROMPT_LOOKUP = PromptLookup(kind="prompt_lookup", num_draft_tokens=5, max_ngram_tokens=3)
NUM_TASKS = 4  # of each kind in a round, one after the other
Tasks = Callable[[int, int], list[str]]  # number, seed -> questions


def measure(built: Path, folder: Path, workload: Workload, repeats: int, say: Say) -> dict[str, Any]:
    """Plain decoding against prompt lookup; see `lora_effect.measure`. Answers end by themselves or at `max_tokens`."""
    directory = link_engine(built, folder, speculation=PROMPT_LOOKUP)
    request = workload.request(eos_ids=read_manifest(built).tokens.eos_ids)
    found: dict[str, Any] = {"num_draft_tokens": PROMPT_LOOKUP.num_draft_tokens}
    with loaded(built) as plain, loaded(directory) as looking_up:
        for name, tasks in (("repeating", repeating_tasks), ("other", other_tasks)):

            def texts(_: int, seed: int, tasks: Tasks = tasks) -> list[str]:
                return tasks(NUM_TASKS, seed)

            sides = {
                "plain": EngineSide(built, plain, request, is_chat=True, at_once=False),
                "lookup": EngineSide(directory, looking_up, request, is_chat=True, at_once=False),
            }
            say(f"answers: {name}")
            medians = asyncio.run(in_turn(sides, texts, (1,), repeats, say))
            answers = sides["plain"].answers, sides["lookup"].answers
            found[name] = {
                **side_by_side(medians)["c1"],
                **acceptance(answers[1], PROMPT_LOOKUP.num_draft_tokens),
                "equal_fraction": equal_fraction(*answers),
            }
    return found


def repeating_tasks(count: int, seed: int) -> list[str]:
    """Questions whose answer is made of their own words."""
    paragraphs = [text for text in held_out_text().split("\n\n") if 40 <= len(text.split()) <= 70]
    chosen = random.Random(seed).sample(paragraphs, count)  # noqa: S311 - a workload, not a secret
    return [f"Correct the spelling of this text and write it again:\n\n{paragraph}" for paragraph in chosen]


def other_tasks(count: int, seed: int) -> list[str]:
    """Questions whose answer is new."""
    return [f"Write a short story about {', '.join(text.split()[1:])}." for text in prompts(count, 3, seed)]


def acceptance(answers: Sequence[Answer], num_draft_tokens: int) -> dict[str, float]:
    """Of answers that came one at a time: tokens in a step, and accepted ones over the most that could be proposed.

    Each step brings one token of the model's own; how many were proposed OpenVINO does not say, `num_draft_tokens` at
    most. So the rate is a lower bound.
    """
    num_tokens = sum(len(answer.token_ids) for answer in answers)
    num_steps = sum(len(set(answer.arrivals_s)) for answer in answers)
    return {
        "tokens_per_step": num_tokens / num_steps,
        "acceptance_rate": (num_tokens - num_steps) / (num_steps * num_draft_tokens),
    }
