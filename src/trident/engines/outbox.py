"""Sequences with something that has not left yet, and which of them is to be sent next."""

from __future__ import annotations

from trident.engines.completion import Completion
from trident.engines.job import Job
from trident.engines.pace import Pace


class Outbox:
    """First tokens and ends before all others, then the oldest. Under its owner's lock."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._urgent: dict[Completion, Job] = {}
        self._waiting: dict[Completion, tuple[Job, float, int]] = {}  # oldest first: its time, its step
        self._num_steps = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def stepped(self, now: float) -> None:
        """A step of the engine ended at `now`."""
        self._pace.stepped(now)
        self._num_steps += 1

    def sent(self, seconds: float) -> None:
        """Sending one response took `seconds`."""
        self._pace.sent(seconds)

    def add(self, job: Job, completion: Completion, now: float) -> None:
        """It has something to send, since now unless it waits already."""
        if completion.is_first or completion.has_ended:
            self._waiting.pop(completion, None)
            self._urgent[completion] = job
        elif completion not in self._waiting:
            self._waiting[completion] = (job, now, self._num_steps)

    def remove(self, completion: Completion) -> None:
        """Take it out, if it is in."""
        self._urgent.pop(completion, None)
        self._waiting.pop(completion, None)

    def is_due(self, now: float, num_streams: int) -> bool:
        """Whether something must leave now, while `num_streams` run."""
        if self._urgent:
            return True
        for _, since, step in self._waiting.values():
            is_full = self._num_steps - step + 1 >= self._pace.num_merged(num_streams)
            return is_full or now >= since + self._pace.max_delay_s
        return False

    def pop(self) -> tuple[Job, Completion]:
        """Take out what is next."""
        if self._urgent:
            completion = next(iter(self._urgent))
            return self._urgent.pop(completion), completion
        completion = next(iter(self._waiting))
        return self._waiting.pop(completion)[0], completion

    def next_moment(self) -> float | None:
        """When the oldest has waited long enough; None when nothing waits."""
        for _, since, _ in self._waiting.values():
            return since + self._pace.max_delay_s
        return None
