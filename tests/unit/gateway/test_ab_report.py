"""A/B reports: what is counted for whom, and what a report says of it."""

import asyncio
import contextlib
import random

import numpy as np
import pytest

from tests.unit.gateway.scripted_upstream import Bench, ScriptedUpstreams, config_of, words
from trident.errors import EngineError, InvalidRequestError, UnavailableError
from trident.gateway.ab_report import ab_report
from trident.gateway.asked import Decision, Outcome
from trident.gateway.route_statistics import Comparison, Reservoir, RouteStatistics

MODELS = {"chat": {"deployments": {"main": 1}, "fallbacks": ["spare"], "price": {"output_per_million": 1e6}}}


def arms_after(*, reads=None, **scripts):
    """The statistics of one request."""
    config = config_of(MODELS)
    bench = Bench(ScriptedUpstreams(**{"main": [], "spare": [], **scripts}), config)
    statistics = RouteStatistics(config.deployments)

    async def use():
        async with bench.exchange() as exchange:
            async for _ in exchange:
                if reads:
                    return

    with contextlib.suppress(EngineError, InvalidRequestError):
        asyncio.run(use())
    statistics.ended(bench.outcome)
    return statistics.arms("chat")


def test_a_failure_counts_for_the_deployment_that_failed_and_the_answer_for_the_one_that_gave_it():
    arms = arms_after(main=[UnavailableError("gone")], spare=words("a", "b"))
    assert (arms["main"].num_requests, arms["main"].num_errors) == (1, 1)
    assert (arms["spare"].num_requests, arms["spare"].num_errors) == (1, 0)
    assert (arms["spare"].num_output_tokens, arms["spare"].total_cost) == (2, 2.0)
    assert arms["spare"].latency_s.num_added == arms["spare"].ttft_s.num_added == 1


def test_what_the_client_did_wrong_is_no_error_of_the_deployment():
    assert arms_after(main=[InvalidRequestError("no")])["main"].num_errors == 0


def test_who_left_is_counted_apart_and_his_time_is_no_latency():
    arm = arms_after(main=[*words("a")[:-1], *words("a", "b")], reads=1)["main"]
    assert (arm.num_cancelled, arm.num_errors, arm.latency_s.num_added) == (1, 0, 0)


def test_a_reservoir_is_bounded_and_keeps_a_fair_sample():
    reservoir = Reservoir(200, random.Random(2).random)
    for value in range(20_000):
        reservoir.add(value)
    values = reservoir.values()
    assert (values.size, reservoir.num_added) == (200, 20_000)
    assert values.mean() == pytest.approx(10_000, rel=0.1)


def filled():
    """`canary` is 100 ms slower, fails more often, costs more and is liked better."""
    statistics = RouteStatistics({})
    generator = np.random.default_rng(4)
    for deployment, latency, errors, cost, liked in (("main", 0.5, 2, 1.0, 0.6), ("canary", 0.6, 40, 2.0, 0.9)):
        decision = Decision("chat", (deployment,), ())
        for number in range(400):
            outcome = Outcome(None, decision, deployment, ttft_s=0.1, duration_s=latency + generator.normal(0, 0.05))
            outcome.cost = cost
            if number < errors:
                outcome.error = EngineError("broke")
            statistics.ended(outcome)
            statistics.feedback("chat", deployment, float(generator.random() < liked))
    return statistics


def report_of(statistics):
    versions = {"main": "1", "canary": "2", "idle": ""}
    return ab_report("chat", statistics.arms("chat"), statistics.shadows("chat"), versions, "main")


def test_a_report_tells_real_differences_from_none():
    (contrast, idle) = report_of(filled()).contrasts
    assert (contrast.deployment, contrast.baseline) == ("canary", "main")
    assert contrast.latency_ms.low < 100 < contrast.latency_ms.high
    assert contrast.latency_ms.low > 0
    assert contrast.ttft_ms.low <= 0 <= contrast.ttft_ms.high
    assert contrast.error_rate.value == pytest.approx(38 / 400)
    assert contrast.error_rate.low > 0
    assert contrast.cost_per_request.value == pytest.approx(1.0)
    assert contrast.win_rate.low > 0.5
    assert idle.latency_ms is None


def test_a_report_has_every_deployment_with_its_figures():
    main, canary, idle = report_of(filled()).arms
    assert (main.deployment, main.version, canary.version) == ("main", "1", "2")
    assert (main.num_requests, main.num_errors, main.num_feedback) == (400, 2, 400)
    assert main.latency_ms.mean.low < 500 < main.latency_ms.mean.high
    assert main.latency_ms.p50.low <= main.latency_ms.p50.value <= main.latency_ms.p50.high < main.latency_ms.p95.value
    assert (idle.num_requests, idle.error_rate, idle.latency_ms.mean) == (0, None, None)


def test_shadows_are_reported_with_how_often_they_agreed_and_won():
    statistics = RouteStatistics({})
    for is_equal, winner in [(True, "")] * 6 + [(False, "shadow")] * 3 + [(False, "real")]:
        statistics.compared("chat", "main", "canary", Comparison(is_equal, winner, 1.0, 1.5, 10, 12))
    statistics.compared("chat", "main", "canary", Comparison(False, "real", 1.0, None, 10, None))
    (shadow,) = report_of(statistics).shadows
    assert (shadow.deployment, shadow.of, shadow.num_compared, shadow.num_failed) == ("canary", "main", 11, 1)
    assert shadow.equal_rate.value == pytest.approx(6 / 11)
    assert shadow.win_rate.value == pytest.approx(3 / 5)
    assert shadow.added_latency_ms.value == pytest.approx(500)
    assert shadow.added_chars.value == pytest.approx(2)
