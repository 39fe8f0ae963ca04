"""How fast an engine is by itself: no Triton, no text. For comparing precisions, and plans with the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trident.engines.base import Engine, EngineRequest, Sequence
from trident.engines.load import load_engine
from trident.errors import EngineError
from trident.manifest import read_manifest

_PATIENCE_S = 120.0  # without a word of the engine
_TICK_S = 1.0


@dataclass(frozen=True)
class Speed:
    """Greedy completions of random prompts, so that nothing is found in the prefix cache."""

    ttft_ms: float  # of one prompt alone
    prefill_tokens_per_s: float  # of that prompt
    decode_tokens_per_s_single: float  # of one sequence, after its first token
    decode_tokens_per_s: float  # of all sequences at once, after the last first token


@dataclass
class Answer:
    """What came of one request, and when."""

    token_ids: list[int] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)  # of each token, after the start; equal for those of one step
    log_probs: list[float] = field(default_factory=list)  # of each token, when asked for


def complete(engine: Engine, requests: Many[EngineRequest]) -> list[Answer]:
    """Run all requests at once on an engine that does nothing else, and wait for their ends.

    Raises:
        TridentError: the engine refused one of them, failed, or said nothing for two minutes.
    """
    start = heard = time.perf_counter()
    answers: dict[Sequence, Answer] = {_Asked(request): Answer() for request in requests}
    for sequence in answers:
        engine.submit(sequence)
    num_open = len(answers)
    while num_open:
        news = engine.wait(_TICK_S)
        now = time.perf_counter()
        for progress in news:
            answer = answers[progress.sequence]
            answer.token_ids += progress.token_ids
            answer.arrivals_s += [now - start] * len(progress.token_ids)
            answer.log_probs += progress.log_probs or []
            if isinstance(progress.end, Exception):
                raise progress.end
            num_open -= progress.end is not None
        heard = now if news else heard
        if now - heard > _PATIENCE_S:
            raise EngineError(f"the engine said nothing for {_PATIENCE_S:g} s")
    return list(answers.values())


def measure_speed(directory: Path, prompt_tokens: int, output_tokens: int, num_seqs: int) -> Speed:
    """Load the engine, warm it up, and run one sequence and then `num_seqs` at once.

    Raises:
        ManifestError: no engine, or no adapter for its kind here.
        EngineError: it failed, or said nothing for two minutes.
    """
    manifest = read_manifest(directory)
    engine = load_engine(directory, manifest)
    rng = np.random.default_rng(0)

    def run(count: int) -> tuple[float, float]:
        prompts = rng.integers(3, manifest.tokens.vocab_size, (count, prompt_tokens), dtype=np.int32)
        return _rates(complete(engine, [EngineRequest(prompt, output_tokens) for prompt in prompts]))

    try:
        run(1)
        first_s, single = run(1)
        _, together = run(num_seqs)
    finally:
        engine.close()
    return Speed(1000 * first_s, prompt_tokens / first_s, single, together)


class _Asked(Sequence):
    def __init__(self, request: EngineRequest) -> None:
        self.request = request


def _rates(answers: list[Answer]) -> tuple[float, float]:
    """Seconds to the last first token, and tokens per second of all sequences after it."""
    times = [moment_s for answer in answers for moment_s in answer.arrivals_s]
    first_s = max(answer.arrivals_s[0] for answer in answers)
    return first_s, sum(moment_s > first_s for moment_s in times) / (max(times) - first_s)
