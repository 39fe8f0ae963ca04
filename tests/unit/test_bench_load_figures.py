"""The figures of a load, from runs written by hand."""

from __future__ import annotations

import dataclasses
import os

import pytest

from trident.bench.load import LoadRun, Sample, Window
from trident.bench.load_figures import Limits, LoadFigures, load_figures, warnings
from trident.errors import EngineError

WINDOW = Window(warmup_s=1.0, measure_s=2.0)


def sample(due_s: float, *arrivals_s: float, tokens: int = 3, **fields) -> Sample:
    return Sample(due_s, fields.pop("sent_s", due_s), list(arrivals_s), 10, tokens, is_over=True, **fields)


EARLY = sample(0.5, 0.6, 0.9, 1.2)  # due before the window, a third of it came inside, and it ended there
FAST = sample(1.0, 1.1, 1.2, 1.4)
LATE = sample(1.5, 2.0, 2.5, 3.5, sent_s=1.75)  # ended after the window
AFTER = sample(3.0, 3.1, 3.2, 3.3)


def run_of(*samples: Sample) -> LoadRun:
    return LoadRun(WINDOW, list(samples), client_cpu_s=0.5, machine_cpu_s=1.0, loop_lags_s=[0.001, 0.004])


RUN = run_of(EARLY, FAST, LATE, AFTER)


def test_latencies_are_of_what_was_due_in_the_window_from_when_it_was_due():
    found = load_figures(RUN, Limits())
    assert (found.requests, found.failed) == (2, 0)
    assert (found.ttft_p50_ms, found.ttft_p99_ms) == (pytest.approx(100), pytest.approx(500))
    assert (found.itl_p50_ms, found.itl_p99_ms) == (pytest.approx(200), pytest.approx(1000))
    assert (found.tpot_p50_ms, found.tpot_p99_ms) == (pytest.approx(150), pytest.approx(750))
    assert (found.latency_mean_ms, found.latency_p99_ms) == (pytest.approx(1200), pytest.approx(2000))
    assert found.send_lag_p99_ms == pytest.approx(250)


def test_rates_are_of_what_came_in_the_window():
    found = load_figures(RUN, Limits())
    assert found.requests_per_s == pytest.approx(2 / 2)  # EARLY and FAST
    assert found.output_tokens_per_s == pytest.approx((1 + 3 + 2) / 2)
    assert found.concurrency == pytest.approx((0.2 + 0.4 + 1.25) / 2)


def test_goodput_is_of_requests_that_kept_both_limits():
    def goodput(**limits: float) -> float:
        return load_figures(RUN, Limits(**limits)).goodput_per_s

    assert goodput() == 1.0
    assert goodput(itl_ms=200) == 0.5  # FAST; of EARLY a token takes 300 ms
    assert goodput(ttft_ms=99) == 0.0
    assert goodput(ttft_ms=101, itl_ms=301) == 1.0


def test_cpu_is_in_cores_for_the_client_and_in_shares_for_the_machine():
    found = load_figures(RUN, Limits())
    assert found.client_cpu == pytest.approx(0.25)
    assert found.machine_cpu == pytest.approx(0.5 / (os.cpu_count() or 1))
    assert found.loop_lag_p99_ms == pytest.approx(4.0)


def test_what_failed_or_never_ended_is_counted_and_not_timed():
    refused = Sample(1.2, 1.2, error="the queue is full", is_over=True)
    endless = Sample(1.3, 1.3, [1.4, 1.5], is_over=False)
    found = load_figures(run_of(FAST, refused, endless), Limits())
    assert (found.requests, found.failed) == (3, 2)
    assert found.ttft_p99_ms == pytest.approx(100)
    assert warnings(found) == ["2 of 3 requests failed; the others are what was timed"]


def test_a_run_in_which_none_succeeded_says_why_the_first_failed():
    with pytest.raises(EngineError, match="none of 1 requests succeeded: the queue is full"):
        load_figures(run_of(Sample(1.2, 1.2, error="the queue is full", is_over=True)), Limits())
    with pytest.raises(EngineError, match="measure for longer"):
        load_figures(run_of(EARLY), Limits())


def test_an_answer_of_one_token_has_no_time_per_token_and_breaks_no_limit_on_it():
    found = load_figures(run_of(sample(1.0, 1.1, tokens=1)), Limits(itl_ms=0.001))
    assert (found.tpot_p50_ms, found.goodput_per_s) == (0.0, 0.5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"client_cpu": 0.9}, "the client is saturated"), ({"loop_lag_p99_ms": 50.0}, "the client was late"),
     ({"send_lag_p99_ms": 50.0}, "the client was late"), ({"machine_cpu": 0.99}, "cores were full"),
     ({"failed": 1.0}, "1 of 2 requests failed")],
)  # fmt: skip
def test_what_spoils_the_figures_is_said(fields, said):
    quiet = dataclasses.replace(load_figures(RUN, Limits()), send_lag_p99_ms=0.0)
    assert warnings(quiet) == []
    (line,) = warnings(LoadFigures(**{**dataclasses.asdict(quiet), **fields}))
    assert said in line
