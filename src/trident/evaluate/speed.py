"""How fast an engine is by itself: no Triton, no text. For comparing precisions, and plans with the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trident.engines.base import Engine, EngineRequest, Sequence
from trident.engines.load import load_engine
from trident.errors import EngineError
from trident.manifest import read_manifest

_PATIENCE_S = 120.0  # without a token of anybody
_TICK_S = 1.0


@dataclass(frozen=True)
class Speed:
    """Greedy completions of random prompts, so that nothing is found in the prefix cache."""

    ttft_ms: float  # of one prompt alone
    prefill_tokens_per_s: float  # of that prompt
    decode_tokens_per_s_single: float  # of one sequence, after its first token
    decode_tokens_per_s: float  # of all sequences at once, after the last first token


class _Timed(Sequence):
    def __init__(self, request: EngineRequest) -> None:
        self.request = request


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
        return _run(engine, [EngineRequest(prompt, output_tokens) for prompt in prompts])

    try:
        run(1)
        first_s, single = run(1)
        _, together = run(num_seqs)
    finally:
        engine.close()
    return Speed(1000 * first_s, prompt_tokens / first_s, single, together)


def _run(engine: Engine, requests: list[EngineRequest]) -> tuple[float, float]:
    """Seconds to the last first token, and tokens per second of all sequences after it."""
    start = heard = time.perf_counter()
    waiting: set[Sequence] = {_Timed(request) for request in requests}
    for sequence in waiting:
        engine.submit(sequence)
    num_open, first_s, num_later = len(requests), 0.0, 0
    while num_open:
        for progress in engine.wait(_TICK_S):
            heard = time.perf_counter()
            if isinstance(progress.end, Exception):
                raise progress.end
            num_later += len(progress.token_ids) if not waiting else 0
            num_open -= progress.end is not None
            waiting -= {progress.sequence} if progress.token_ids else set()
        if not waiting and not first_s:
            first_s = heard - start
        if time.perf_counter() - heard > _PATIENCE_S:
            raise EngineError(f"the engine said nothing for {_PATIENCE_S:g} s")
    return first_s, num_later / (heard - start - first_s)
