"""Replay engines on a clock that a test turns."""

from __future__ import annotations

import threading

from tests.unit.engines.listener import Listener
from tests.unit.manifests import MANIFEST
from trident.engines.replay import ReplayEngine
from trident.engines.replay_blocks import BLOCK_TOKENS
from trident.engines.replay_settings import ReplaySettings
from trident.engines.replay_timing import read_preset
from trident.manifest import Limits

STEP_S = 0.005
ANSWER = tuple(range(100, 150))
ENDLESS = 10_000  # tokens


class TurnedClock:
    """Stands still except in `sleep`; `oversleep_s` is what the machine adds to every one."""

    def __init__(self, oversleep_s: float = 0.0) -> None:
        self.time = 1000.0
        self.oversleep_s = oversleep_s
        self.sleeps: list[float | None] = []

    def now(self) -> float:
        return self.time

    def sleep(self, woken: threading.Condition, timeout_s: float | None) -> None:
        self.sleeps.append(timeout_s)
        if timeout_s is None:
            woken.wait()
        else:
            self.time += timeout_s + self.oversleep_s


def engine_of(clock=None, timing=None, max_num_seqs=8, max_num_batched_tokens=64, num_blocks=2000, **changes):
    """An engine of 5 ms steps, whatever is in them, unless it is said otherwise."""
    limits = Limits(
        max_input_tokens=ENDLESS,
        max_output_tokens=ENDLESS,
        max_seq_tokens=2 * ENDLESS,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        max_queued_requests=1000,
        kv_cache_tokens=num_blocks * BLOCK_TOKENS,
    )
    timing = timing or read_preset("constant-200")
    values = ReplaySettings(**{"preset": "test", "answer_ids": ANSWER, "timing": timing, **changes})
    return ReplayEngine(MANIFEST.model_copy(update={"limits": limits}), values, clock or TurnedClock())


def heard(engine, *sequences) -> Listener:
    """What came of all of them, submitted at once and heard to their ends."""
    listener = Listener(engine)
    listener.run(*sequences)
    return listener
