"""What an A/B report says of the facts: real differences, and none where there are none."""

import numpy as np
import pytest

from trident.gateway.ab_report import Arm, ShadowArm, ab_report

RANDOM = np.random.default_rng(4)


def arm(latency_s, num_errors, cost, liked):
    """Of 400 requests."""
    return Arm(
        num_requests=400,
        num_errors=num_errors,
        ttft_s=np.full(400, 0.1),
        latency_s=latency_s + RANDOM.normal(0, 0.05, 400),
        price=np.ones(400),
        cost=np.full(400, cost),
        total_cost=400 * cost,
        num_feedback=400,
        feedback=(RANDOM.random(400) < liked).astype(np.float64),
    )


ARMS = {"main": arm(0.5, 2, 1.0, 0.6), "canary": arm(0.6, 40, 2.0, 0.9)}  # slower, fails more, dearer, liked better


def report(arms=ARMS, shadows=None):
    return ab_report("chat", arms, shadows or {}, {"main": "1", "canary": "2", "idle": ""}, "main")


def test_a_report_tells_real_differences_from_none():
    (contrast, idle) = report().contrasts
    assert (contrast.deployment, contrast.baseline) == ("canary", "main")
    assert contrast.latency_ms.low < 100 < contrast.latency_ms.high
    assert contrast.latency_ms.low > 0
    assert contrast.ttft_ms.low <= 0 <= contrast.ttft_ms.high
    assert contrast.error_rate.value == pytest.approx(38 / 400)
    assert contrast.error_rate.low > 0
    assert contrast.cost_per_request.value == pytest.approx(1.0)
    assert contrast.price_per_request.value == 0
    assert contrast.win_rate.low > 0.5
    assert idle.latency_ms is None


def test_a_report_has_every_deployment_with_its_figures():
    main, canary, idle = report().arms
    assert (main.deployment, main.version, canary.version) == ("main", "1", "2")
    assert (main.num_requests, main.num_errors, main.num_feedback, main.total_cost) == (400, 2, 400, 400.0)
    assert main.latency_ms.mean.low < 500 < main.latency_ms.mean.high
    assert main.latency_ms.p50.low <= main.latency_ms.p50.value <= main.latency_ms.p50.high < main.latency_ms.p95.value
    assert (idle.num_requests, idle.error_rate, idle.latency_ms.mean) == (0, None, None)


def test_shadows_are_reported_with_how_often_they_agreed_and_won():
    shadows = {
        ("main", "canary"): ShadowArm(
            num_compared=11, num_equal=6, num_failed=1, num_won=3, num_lost=2,
            added_latency_s=np.full(10, 0.5), added_chars=np.full(10, 2.0),
        )
    }  # fmt: skip
    (shadow,) = report({}, shadows).shadows
    assert (shadow.deployment, shadow.of, shadow.num_compared, shadow.num_failed) == ("canary", "main", 11, 1)
    assert shadow.equal_rate.value == pytest.approx(6 / 11)
    assert shadow.win_rate.value == pytest.approx(3 / 5)
    assert shadow.added_latency_ms.value == pytest.approx(500)
    assert shadow.added_chars.value == pytest.approx(2)
