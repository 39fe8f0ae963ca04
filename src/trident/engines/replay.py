"""The replay engine: no model, the same words to everybody, and the times of a real engine.

For load tests and capacity plans. It has no thread and no timer of its own: steps have a beginning and an end on the
clock, `wait` sleeps until the end of the one under way, and an engine without work waits to be woken. Steps follow
each other without a gap, as if the engine worked on elsewhere, so being called late costs it nothing. When `wait`
comes more than MAX_LAG_S late, the next step begins then instead, rather than giving out a burst.
"""

from __future__ import annotations

import math
import random
import threading
import time
from pathlib import Path
from typing import Protocol

from trident.engines.base import EngineStats, Progress, Sequence
from trident.engines.replay_batch import Batch
from trident.engines.replay_settings import ReplaySettings, read_replay_settings
from trident.errors import EngineError
from trident.manifest import Manifest

MAX_LAG_S = 0.1  # what may be made up for; a reader that is later than this cannot keep up


class Clock(Protocol):
    """What the engine knows of time."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def sleep(self, woken: threading.Condition, timeout_s: float | None) -> None:
        """Until `woken`, which the caller holds, is notified, or the time is over."""


class MonotonicClock:
    """The machine's own."""

    def now(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def sleep(self, woken: threading.Condition, timeout_s: float | None) -> None:
        """See `Clock`."""
        woken.wait(timeout_s)


class ReplayEngine:
    """An engine directory of kind `replay`."""

    is_simulated = True

    def __init__(self, manifest: Manifest, settings: ReplaySettings, clock: Clock | None = None) -> None:
        """Ready at once."""
        self._clock = clock or MonotonicClock()
        self._timing = settings.timing
        self._jitter = settings.jitter
        self._random = random.Random(f"jitter {settings.seed}")  # noqa: S311 - a workload, not a secret
        self._batch = Batch(manifest.limits, settings)
        self._woken = threading.Condition()  # its lock guards everything here
        self._cancelled: list[Sequence] = []
        self._time = -math.inf  # where the last step ended
        self._end_of_step = math.inf  # none is under way
        self._is_closed = False

    @classmethod
    def load(cls, directory: Path, manifest: Manifest) -> ReplayEngine:
        """The engine in `directory`.

        Raises:
            ManifestError: its `replay.toml` is missing or wrong.
        """
        return cls(manifest, read_replay_settings(directory))

    def submit(self, sequence: Sequence) -> None:
        """See Engine.submit. What exceeds the whole KV cache fails at `wait`."""
        with self._woken:
            self._batch.submit(sequence, self._clock.now())
            self._wake_if_idle()

    def cancel(self, sequence: Sequence) -> None:
        """See Engine.cancel. It is out at the end of the step under way."""
        with self._woken:
            self._cancelled.append(sequence)
            self._wake_if_idle()

    def wait(self, timeout_s: float | None) -> list[Progress]:
        """See Engine.wait."""
        with self._woken:
            until = math.inf if timeout_s is None else self._clock.now() + timeout_s
            while not self._is_closed:
                now = self._clock.now()
                if self._end_of_step <= now:
                    self._end_step(now)
                if self._end_of_step == math.inf:
                    self._drop_cancelled()
                    if news := self._batch.take_news():
                        return news
                    self._begin_step()
                if self._end_of_step > now:
                    if until <= now:
                        return []
                    next_s = min(self._end_of_step, until) - now
                    self._clock.sleep(self._woken, None if next_s == math.inf else next_s)
            raise EngineError("the replay engine is closed")

    def stats(self) -> EngineStats:
        """See Engine.stats."""
        with self._woken:
            return self._batch.stats()

    def close(self) -> None:
        """See Engine.close."""
        with self._woken:
            self._is_closed = True
            self._woken.notify_all()

    def _wake_if_idle(self) -> None:
        if self._end_of_step == math.inf:  # otherwise `wait` looks at the end of the step, and not before
            self._woken.notify()

    def _drop_cancelled(self) -> None:
        for sequence in self._cancelled:
            self._batch.cancel(sequence)
        self._cancelled.clear()

    def _begin_step(self) -> None:
        start = self._batch.next_start(self._time)
        if start is not None:
            load = self._batch.begin(start)
            step_s = self._timing.step_s(load.num_seqs, load.context_tokens, load.prefill_tokens)
            self._end_of_step = start + step_s * (1 + self._jitter * self._random.uniform(-1, 1))

    def _end_step(self, now: float) -> None:
        self._drop_cancelled()  # before they get the token of this step
        self._batch.end()
        self._time = now if now - self._end_of_step > MAX_LAG_S else self._end_of_step
        self._end_of_step = math.inf
