"""Asks an engine directly, hears all that it says, and objects to what no engine may say."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from trident.engines.base import Engine, EngineRequest, Progress, Sequence
from trident.errors import TridentError

PATIENCE_S = 60.0  # for what comes in a second; no test passes by waiting that long


def ask(input_ids, max_tokens: int = 8, **more) -> Sequence:
    """A sequence to complete; without EOS ids, so that its length is known."""
    sequence = Sequence()
    sequence.request = EngineRequest(np.array(input_ids, np.int32), max_tokens, **more)
    return sequence


def prompt(seed: int, num_tokens: int) -> list[int]:
    """Ids that no other seed has as a beginning."""
    return np.random.default_rng(seed).integers(300, 3000, num_tokens).tolist()


class Listener:
    """Hears all that an engine says, and objects to what no engine may say."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.asked: list[Sequence] = []
        self.ids: dict[Sequence, list[int]] = defaultdict(list)
        self.ends: dict[Sequence, str | TridentError] = {}
        self.num_cached: dict[Sequence, int] = {}

    def submit(self, *sequences: Sequence) -> None:
        for sequence in sequences:
            self.asked.append(sequence)
            self.engine.submit(sequence)

    def listen(self, until) -> None:
        """Take what comes until `until()` is true."""
        give_up = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < give_up, f"{len(self.ends)} of {len(self.asked)} ended; {self.engine.stats()}"
            for progress in self.engine.wait(0.05):
                self.hear(progress)

    def until_ended(self, *sequences: Sequence) -> None:
        self.listen(lambda: all(sequence in self.ends for sequence in sequences))

    def until_running(self, *sequences: Sequence) -> None:
        self.listen(lambda: all(self.ids[sequence] for sequence in sequences))

    def until_queued(self, sequence: Sequence) -> None:
        """Until the engine says that it waits; it must not be in the batch beside the others."""
        self.listen(lambda: self.engine.stats().num_queued == 1 or self.ids[sequence])
        assert not self.ids[sequence], "the batch took more than max_num_seqs"

    def run(self, *sequences: Sequence) -> None:
        self.submit(*sequences)
        self.until_ended(*sequences)

    def until_idle(self) -> None:
        """Until the engine says that it holds nothing: no sequence, and no block in use."""

        def is_idle() -> bool:
            stats = self.engine.stats()
            used = (stats.num_queued, stats.num_running, stats.num_prefilling, stats.num_paused)
            return not any(used) and stats.kv_cache_fraction == 0

        self.listen(is_idle)

    def hear(self, progress: Progress) -> None:
        """One thing that the engine said."""
        sequence = progress.sequence
        assert sequence in self.asked
        assert sequence not in self.ends, f"{progress} after the end {self.ends[sequence]!r}"
        self.ids[sequence] += progress.token_ids
        if progress.num_cached_tokens is not None:
            assert sequence not in self.num_cached, "num_cached_tokens is said once"
            self.num_cached[sequence] = progress.num_cached_tokens
        if progress.end is not None:
            assert progress.end in {"stop", "length", "cancelled"} or isinstance(progress.end, TridentError)
            self.ends[sequence] = progress.end
