"""An Engine whose steps a test writes: the one fake of the Engine protocol."""

from __future__ import annotations

import queue
import threading

import numpy as np

from trident.engines.base import EngineRequest, EngineStats, Progress
from trident.engines.completion import Chunk
from trident.engines.parameters import Generation
from trident.errors import EngineError


class ScriptedEngine:
    """`step` gives every submitted sequence what the test says; cancels are answered in the next step."""

    is_simulated = False

    def __init__(self) -> None:
        self.submitted = []
        self.cancelled = []
        self.num_preparing = 0
        self._steps: queue.Queue = queue.Queue()

    def submit(self, sequence) -> None:
        self.submitted.append(sequence)

    def cancel(self, sequence) -> None:
        self.cancelled.append(sequence)
        self._steps.put([Progress(sequence, [], "cancelled")])

    def step(self, *news) -> None:
        """One step; each of `news` is (sequence, ids) or (sequence, ids, end)."""
        self._steps.put([Progress(*item) for item in news])

    def die(self) -> None:
        self._steps.put(EngineError("the engine process ended unexpectedly"))

    def wait(self, timeout_s):
        try:
            step = self._steps.get(timeout=timeout_s)
        except queue.Empty:
            return []
        if isinstance(step, EngineError):
            raise step
        return step

    def stats(self) -> EngineStats:
        return EngineStats(0, 0, 0.0, 0, num_preparing=self.num_preparing)

    def close(self) -> None:
        self.die()


class RecordedReply:
    """Keeps what was sent; `wait` blocks until the request has ended."""

    def __init__(self) -> None:
        self.chunks: list[tuple[Chunk, bool]] = []
        self.error = None
        self.is_gone = False
        self.ask_interval_s = 0.01
        self._sent = threading.Condition()

    def send(self, chunk, is_final) -> None:
        with self._sent:
            self.chunks.append((chunk, is_final))
            self._sent.notify_all()

    def fail(self, error) -> None:
        with self._sent:
            self.error = error
            self._sent.notify_all()

    def is_cancelled(self) -> bool:
        return self.is_gone

    def wait(self, count=None) -> RecordedReply:
        """Until `count` responses have come, or without it until the end."""
        with self._sent:
            assert self._sent.wait_for(lambda: self._has_all(count), timeout=10), self.chunks
        return self

    def _has_all(self, count) -> bool:
        if self.error is not None:
            return True
        return len(self.chunks) >= count if count else bool(self.chunks) and self.chunks[-1][1]

    @property
    def ids(self) -> list[int]:
        return [token_id for chunk, _ in self.chunks for token_id in chunk.output_ids]


def generation(**changes) -> Generation:
    """A streamed request of three prompt tokens."""
    defaults = {
        "engine_request": EngineRequest(np.array([5, 6, 7], np.int32), max_tokens=10),
        "is_streaming": True,
        "exclude_input": True,
        "wants_num_input_tokens": True,
        "wants_num_output_tokens": True,
    }
    return Generation(**{**defaults, **changes})
