"""The page that Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.gateway.observed import PROMPT, asked, outcome
from trident.errors import EngineError, QueueFullError
from trident.gateway.metrics import Metrics


@pytest.fixture
def metrics():
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def end(metrics: Metrics, **changes: object) -> None:
    made = outcome(**changes)
    metrics.began(made.asked)
    metrics.ended(made)


def test_a_generation_counts_once_with_its_tokens_and_its_cost(metrics):
    end(metrics)
    labels = {"model": "small", "tenant": "acme"}
    assert value(metrics, "trident_gateway_requests_total", api="chat", status="ok", **labels) == 1
    assert value(metrics, "trident_gateway_tokens_total", type="input", **labels) == 5
    assert value(metrics, "trident_gateway_tokens_total", type="output", **labels) == 11
    assert value(metrics, "trident_gateway_cost_total", **labels) == 0.25


def test_times_have_opentelemetrys_names(metrics):
    end(metrics)
    labels = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "triton", "gen_ai_request_model": "small"}
    assert value(metrics, "gen_ai_server_request_duration_seconds_sum", **labels) == 0.5
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_sum", **labels) == pytest.approx(0.1)
    assert value(metrics, "gen_ai_server_time_per_output_token_seconds_sum", **labels) == pytest.approx(0.04)
    assert value(metrics, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 11


def test_what_runs_is_counted_up_and_down(metrics):
    metrics.began(asked())
    metrics.began(asked())
    assert value(metrics, "trident_gateway_running_requests", model="small") == 2
    metrics.ended(outcome())
    assert value(metrics, "trident_gateway_running_requests", model="small") == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"error": QueueFullError("full")}, "overloaded"),
        ({"error": EngineError("failed")}, "server_error"),
        ({"is_cancelled": True}, "cancelled"),
    ],
)
def test_how_a_generation_ended_is_a_label(metrics, changes, status):
    end(metrics, **changes)
    assert value(metrics, "trident_gateway_requests_total", status=status) == 1


def test_deployments_that_were_asked_in_vain_are_failovers(metrics):
    end(metrics, failures={"canary": QueueFullError("full")})
    assert value(metrics, "trident_gateway_failovers_total", model="small") == 1


def test_tenants_beyond_a_bound_are_one_label(metrics):
    for number in range(300):
        end(metrics, of=asked(f"tenant-{number}"))
    page = metrics.page().decode()
    tenants = {line.split('tenant="')[1].split('"')[0] for line in page.splitlines() if "requests_total{" in line}
    assert len(tenants) == 201
    assert value(metrics, "trident_gateway_requests_total", tenant="(others)") == 100


def test_the_page_holds_no_prompt_and_no_request_id(metrics):
    end(metrics)
    assert PROMPT not in metrics.page().decode()
    assert asked().request_id not in metrics.page().decode()
