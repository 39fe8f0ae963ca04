"""What a measured load comes to: latencies, rates, goodput, whether the client was the limit. Pure functions.

Latencies are of the requests that were due in the window, from the moment they were due: what an open loop could not
send in time counts as waiting (G. Tene, "coordinated omission"). Rates are of what came in the window.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from trident.bench.load import LoadRun, Sample
from trident.bench.workload import percentile
from trident.errors import EngineError

MAX_CLIENT_CPU = 0.8  # of a core: the client is one thread, and above this it begins to queue
MAX_LAG_MS = 20.0  # of the event loop, 99th percentile
_FULL_MACHINE = 0.95


@dataclass(frozen=True)
class Limits:
    """What a good request keeps; None asks nothing."""

    ttft_ms: float | None = None
    itl_ms: float | None = None  # of its time per output token


@dataclass(frozen=True)
class LoadFigures:
    """One run, or the medians of several. ITL is the gap between two responses of a stream; a response may hold several
    tokens, so TPOT is the time per output token of a request after its first response."""

    requests: float  # due in the window
    failed: float  # of them: refused, broken off, or without an end
    input_tokens: float  # mean, as the server counts
    output_tokens: float  # mean
    requests_per_s: float  # that ended in the window
    output_tokens_per_s: float
    goodput_per_s: float  # of requests within the limits; all that succeed where there are none
    concurrency: float  # mean number of requests in flight
    ttft_p50_ms: float
    ttft_p90_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    tpot_p50_ms: float
    tpot_p99_ms: float
    latency_mean_ms: float  # until the last response
    latency_p50_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    client_cpu: float  # cores
    machine_cpu: float  # share of all cores, 0 to 1
    loop_lag_p99_ms: float
    send_lag_p99_ms: float  # between due and sent


NAMES = tuple(field.name for field in fields(LoadFigures))


@dataclass(frozen=True)
class Latencies:
    """Of the measured requests that succeeded, milliseconds."""

    ttft_ms: list[float]
    itl_ms: list[float]
    tpot_ms: list[float]
    latency_ms: list[float]


def succeeded(run: LoadRun) -> list[Sample]:
    """The requests that were due in the window and came to a good end."""
    return [each for each in run.samples if run.window.holds(each.due_s) and _is_good(each)]


def latencies(samples: Sequence[Sample]) -> Latencies:
    """Of requests that succeeded."""
    return Latencies(
        [1000 * (each.arrivals_s[0] - each.due_s) for each in samples],
        [1000 * (after - before) for each in samples for before, after in pairwise(each.arrivals_s)],
        [tpot for each in samples if (tpot := _tpot_ms(each)) is not None],
        [1000 * (each.arrivals_s[-1] - each.due_s) for each in samples],
    )


def load_figures(run: LoadRun, limits: Limits) -> LoadFigures:
    """The figures of one run.

    Raises:
        EngineError: no request succeeded; says why the first did not.
    """
    window, due = run.window, [each for each in run.samples if run.window.holds(each.due_s)]
    good = succeeded(run)
    if not good:
        first = next((each.error for each in run.samples if each.error), "none ended in time; measure for longer")
        raise EngineError(f"none of {len(due)} requests succeeded: {first}")
    times, ended = latencies(good), [each for each in run.samples if _is_good(each) and _ended_in(run, each)]
    return LoadFigures(
        requests=len(due),
        failed=len(due) - len(good),
        input_tokens=statistics.fmean(each.num_input_tokens or 0 for each in good),
        output_tokens=statistics.fmean(each.num_output_tokens or 0 for each in good),
        requests_per_s=len(ended) / window.measure_s,
        output_tokens_per_s=sum(_tokens_in(run, each) for each in run.samples) / window.measure_s,
        goodput_per_s=sum(_keeps(each, limits) for each in ended) / window.measure_s,
        concurrency=sum(_overlap_s(run, each) for each in run.samples) / window.measure_s,
        ttft_p50_ms=percentile(times.ttft_ms, 50),
        ttft_p90_ms=percentile(times.ttft_ms, 90),
        ttft_p99_ms=percentile(times.ttft_ms, 99),
        itl_p50_ms=percentile(times.itl_ms, 50),
        itl_p99_ms=percentile(times.itl_ms, 99),
        tpot_p50_ms=percentile(times.tpot_ms, 50),
        tpot_p99_ms=percentile(times.tpot_ms, 99),
        latency_mean_ms=statistics.fmean(times.latency_ms),
        latency_p50_ms=percentile(times.latency_ms, 50),
        latency_p90_ms=percentile(times.latency_ms, 90),
        latency_p99_ms=percentile(times.latency_ms, 99),
        client_cpu=run.client_cpu_s / window.measure_s,
        machine_cpu=run.machine_cpu_s / window.measure_s / (os.cpu_count() or 1),
        loop_lag_p99_ms=1000 * percentile(run.loop_lags_s, 99),
        send_lag_p99_ms=1000 * percentile([each.sent_s - each.due_s for each in due], 99),
    )


def warnings(figures: LoadFigures) -> list[str]:
    """What makes the figures less than they seem, a line each."""
    found = []
    if figures.client_cpu > MAX_CLIENT_CPU:
        found.append(f"the client is saturated: it took {figures.client_cpu:.2f} of one core; share the load out")
    elif figures.loop_lag_p99_ms > MAX_LAG_MS or figures.send_lag_p99_ms > MAX_LAG_MS:
        late_ms = max(figures.loop_lag_p99_ms, figures.send_lag_p99_ms)
        found.append(f"the client was late: its event loop by {late_ms:.0f} ms (p99), and so may be every time here")
    if figures.machine_cpu > _FULL_MACHINE:
        found.append(
            f"this machine's cores were full ({100 * figures.machine_cpu:.0f}%), client and neighbours included"
        )
    if figures.failed:
        found.append(f"{figures.failed:g} of {figures.requests:g} requests failed; the others are what was timed")
    return found


def _is_good(sample: Sample) -> bool:
    return sample.is_over and not sample.error and bool(sample.arrivals_s)


def _ended_in(run: LoadRun, sample: Sample) -> bool:
    return run.window.holds(sample.arrivals_s[-1])


def _tpot_ms(sample: Sample) -> float | None:
    """None for a request of one token. The first response is taken to hold one."""
    num_later = (sample.num_output_tokens or len(sample.arrivals_s)) - 1
    return 1000 * (sample.arrivals_s[-1] - sample.arrivals_s[0]) / num_later if num_later > 0 else None


def _keeps(sample: Sample, limits: Limits) -> bool:
    tpot_ms = _tpot_ms(sample)
    is_slow = limits.ttft_ms is not None and 1000 * (sample.arrivals_s[0] - sample.due_s) > limits.ttft_ms
    return not is_slow and not (limits.itl_ms is not None and tpot_ms is not None and tpot_ms > limits.itl_ms)


def _tokens_in(run: LoadRun, sample: Sample) -> float:
    """Its tokens that came in the window; responses do not say how many they hold, so all are taken as alike."""
    if not sample.num_output_tokens or not sample.arrivals_s:
        return 0.0
    num_inside = sum(map(run.window.holds, sample.arrivals_s))
    return sample.num_output_tokens * num_inside / len(sample.arrivals_s)


def _overlap_s(run: LoadRun, sample: Sample) -> float:
    window = run.window
    end_s = (sample.arrivals_s or [sample.sent_s])[-1] if sample.is_over else window.end_s
    return max(0.0, min(end_s, window.end_s) - max(sample.sent_s, window.warmup_s))
