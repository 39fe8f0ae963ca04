"""How many steps' tokens go into one response: one, unless sending takes too much of a step."""

from __future__ import annotations

import math

SEND_SHARE = 0.1  # of a step that handing over its responses may take before those of several are merged
_WEIGHT = 0.1  # of the newest measurement in the running averages
_IDLE_S = 1.0  # a longer time between two steps says that there was nothing to do


class Pace:
    """Measures steps and sends, and says how far to merge. Under its owner's lock."""

    def __init__(self, max_delay_s: float) -> None:
        """`max_delay_s`: longest time a streamed token may wait to be merged with the next ones."""
        self.max_delay_s = max_delay_s
        self._send_cost_s = 0.0
        self._step_interval_s = 0.0
        self._last_step = 0.0

    def stepped(self, now: float) -> None:
        """A step ended at `now`, in seconds of a monotonic clock."""
        interval, self._last_step = now - self._last_step, now
        if interval < _IDLE_S:
            self._step_interval_s += _WEIGHT * (interval - self._step_interval_s)

    def sent(self, seconds: float) -> None:
        """Handing over one response took `seconds`."""
        self._send_cost_s += _WEIGHT * (seconds - self._send_cost_s)

    def num_merged(self, num_streams: int) -> int:
        """Steps to a response while `num_streams` run; none may make a token wait longer than the bound."""
        if self._step_interval_s <= 0:
            return 1
        round_cost = self._send_cost_s * num_streams / self._step_interval_s
        most = 1 + int(self.max_delay_s / self._step_interval_s)
        return max(1, min(math.ceil(round_cost / SEND_SHARE), most))
