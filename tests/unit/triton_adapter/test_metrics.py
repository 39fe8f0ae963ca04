"""Promises of publishing: what Triton does not take in one round is not lost, and nothing else suffers by it."""

from __future__ import annotations

import importlib
import sys
import time

import pytest

from tests.unit.triton_adapter.fake_triton import FakeTriton
from trident.triton_adapter.families import ENGINE_FAMILIES, Sample

ARGS = {"model_name": "tensorrt_llm", "model_version": "1"}
TOKENS, QUEUE = "trident_generated_tokens_total", "trident_queue_seconds"
RESPONSES, WAITING = "trident_responses_total", "trident_queue_tokens"


@pytest.fixture
def triton(monkeypatch):
    fake = FakeTriton()
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", fake)
    monkeypatch.delitem(sys.modules, "trident.triton_adapter.metrics", raising=False)
    yield fake
    sys.modules.pop("trident.triton_adapter.metrics", None)


@pytest.fixture
def publish(triton):
    """Publishes rounds of samples, one after the other; each may be an exception that reading the engine raises."""
    rounds = []

    def collect():
        samples = rounds.pop(0) if rounds else []
        if isinstance(samples, Exception):
            raise samples
        return samples

    metrics = importlib.import_module("trident.triton_adapter.metrics")
    publisher = metrics.Publisher(ARGS, ENGINE_FAMILIES, [(TOKENS, ("none",))], collect)

    def publish(*samples) -> None:
        rounds.append(list(samples))
        publisher.publish()

    yield publish
    publisher.close()


def one_round(number: int) -> list[Sample]:
    return [
        Sample(TOKENS, ("none",), 5),
        Sample(QUEUE, (), 0.25),
        Sample(RESPONSES, (), 2),
        Sample(WAITING, (), number),
    ]


def test_counters_grow_gauges_stand_and_histograms_take_each_value(triton, publish):
    publish(*one_round(1))
    publish(*one_round(2))
    assert triton.counts == {(TOKENS, "none"): 10, (RESPONSES,): 4}
    assert triton.observed == {(QUEUE,): [0.25, 0.25]}
    assert triton.levels == {(WAITING,): 2}


@pytest.mark.parametrize("family", [TOKENS, RESPONSES])
def test_a_counter_that_could_not_be_published_catches_up_and_the_others_are_counted_once(triton, publish, family):
    triton.refusing = {family}
    publish(*one_round(1))
    publish(*one_round(2))
    other = (RESPONSES,) if family == TOKENS else (TOKENS, "none")
    assert set(triton.counts) == {other}
    assert triton.levels == {(WAITING,): 2}
    triton.refusing = set()
    publish()
    assert triton.counts == {(TOKENS, "none"): 10, (RESPONSES,): 4}


def test_a_gauge_that_could_not_be_published_is_set_again_although_it_has_not_changed(triton, publish):
    triton.refusing = {WAITING}
    publish(*one_round(7))
    triton.refusing = set()
    publish(*one_round(7))
    assert triton.levels == {(WAITING,): 7}


def test_values_that_a_histogram_could_not_take_are_counted_as_dropped(triton, publish):
    triton.refusing = {QUEUE}
    publish(*one_round(1))
    assert triton.counts["trident_dropped_observations_total", QUEUE] == 1
    assert triton.counts[TOKENS, "none"] == 5


def test_the_same_complaint_is_in_the_log_once(triton, publish):
    triton.refusing = {TOKENS}
    for number in range(3):
        publish(*one_round(number))
    assert triton.log == ["metrics could not be published: RuntimeError: Failed to send the metric"]


def test_what_texts_are_made_with_is_told_and_what_was_replaced_is_said_to_be_gone(triton):
    metrics = importlib.import_module("trident.triton_adapter.metrics")
    sums = [("m1", "t", "p")]
    told = metrics.CheckMetrics(ARGS, lambda: sums[-1])
    told.close()
    assert triton.levels == {("trident_text_info", "m1", "t", "p"): 1.0}
    told = metrics.CheckMetrics(ARGS, lambda: sums[-1])
    while triton.levels.get(("trident_text_info", "m1", "t", "p")) != 1.0:
        time.sleep(0.01)
    sums.append(("m2", "t", "p"))
    told.close()
    assert triton.levels[("trident_text_info", "m2", "t", "p")] == 1.0
