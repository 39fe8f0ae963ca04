"""What one worker process does: counts since it started, and how long answers take, lately and since then.

In memory and bounded. It knows no Prometheus (`metrics.py`) and no ledger.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from trident.gateway.asked import Asked, Outcome
from trident.gateway.intervals import Values
from trident.gateway.overview.figures import LatencyFigures, TrafficFigures
from trident.gateway.route_statistics import Reservoir

WINDOW_S = 60.0  # of "lately"
_MAX_RECENT = 4096
_MS = 1000.0


class Traffic:
    """An `Observer`. `clock`: of the window; `wall`: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.started_at = wall()
        self._clock = clock
        self._num = dict.fromkeys(("requests", "errors", "cancelled", "cache_hits"), 0)
        self._tokens = dict.fromkeys(("input", "cached", "output"), 0)
        self._num_running = 0
        self._ttft_s, self._duration_s = Reservoir(), Reservoir()
        self._recent: deque[tuple[float, float | None, float]] = deque(maxlen=_MAX_RECENT)  # moment, TTFT, duration

    def began(self, asked: Asked) -> None:  # noqa: ARG002 - an observer's
        """As an observer of exchanges."""
        self._num_running += 1

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        self._num_running -= 1
        self._num["requests"] += 1
        self._num["cache_hits"] += bool(outcome.cache)
        self._tokens["input"] += outcome.num_input_tokens
        self._tokens["cached"] += outcome.num_cached_tokens
        self._tokens["output"] += outcome.num_output_tokens
        if outcome.is_cancelled:
            self._num["cancelled"] += 1
        elif outcome.error is not None:
            self._num["errors"] += 1
        else:
            self._recent.append((self._clock(), outcome.ttft_s, outcome.duration_s))
            self._duration_s.add(outcome.duration_s)
            if outcome.ttft_s is not None:
                self._ttft_s.add(outcome.ttft_s)

    def figures(self) -> TrafficFigures:
        """Now."""
        since = self._clock() - WINDOW_S
        recent = [each for each in self._recent if each[0] >= since]
        return TrafficFigures(
            running=self._num_running,
            requests=self._num["requests"],
            errors=self._num["errors"],
            cancelled=self._num["cancelled"],
            cache_hits=self._num["cache_hits"],
            input_tokens=self._tokens["input"],
            cached_tokens=self._tokens["cached"],
            output_tokens=self._tokens["output"],
            last_minute=_latency([ttft for _, ttft, _ in recent if ttft is not None], [each[2] for each in recent]),
            since_start=_latency(self._ttft_s.values(), self._duration_s.values()),
        )


def _latency(ttft_s: Iterable[float], duration_s: Iterable[float]) -> LatencyFigures:
    ttft, duration = np.fromiter(ttft_s, float) * _MS, np.fromiter(duration_s, float) * _MS
    return LatencyFigures(
        ttft_ms_p50=_quantile(ttft, 0.5),
        ttft_ms_p95=_quantile(ttft, 0.95),
        duration_ms_p50=_quantile(duration, 0.5),
        duration_ms_p95=_quantile(duration, 0.95),
    )


def _quantile(values: Values, of: float) -> float | None:
    return float(np.quantile(values, of)) if len(values) else None
