"""Promises of what the engine model tells of itself."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.unit.engines.scripted_engine import ScriptedEngine
from tests.unit.manifests import MANIFEST
from trident.engines.base import EngineStats
from trident.engines.dispatcher import Load
from trident.engines.telemetry import MAX_OBSERVATIONS, RequestRecord, Telemetry
from trident.errors import QueueFullError
from trident.triton_adapter.families import ENGINE_FAMILIES, FAMILIES, Kind
from trident.triton_adapter.samples import EngineSamples

DOCUMENT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
RECORD = RequestRecord("stop", 100, 5, 64, 0.25, 0.5, 2.5, 3, None)
STATS = EngineStats(
    num_queued=1,
    num_running=5,
    kv_cache_fraction=0.25,
    num_steps=10,
    num_prefilling=2,
    num_paused=1,
    max_kv_blocks=40,
    kv_block_tokens=32,
    num_reused_blocks=7,
    num_draft_tokens=30,
    num_accepted_draft_tokens=20,
)


class Watched:
    """An EngineSamples over what a test sets."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.engine.stats = lambda: self.stats
        self.stats = STATS
        self.load = Load(num_waiting=3, num_waiting_tokens=120, num_live=9)
        self.now = 1000.0
        self.telemetry = Telemetry()
        self.samples = EngineSamples(
            lambda: (self.engine, MANIFEST), self.telemetry, lambda: self.load, lambda: self.now
        )

    def collect(self) -> dict[str, dict[tuple[str, ...], list[float]]]:
        """Family -> labels -> values."""
        values: dict = defaultdict(lambda: defaultdict(list))
        for sample in self.samples.collect():
            assert len(sample.labels) == len(FAMILIES[sample.family].labels)
            assert all(isinstance(label, str) for label in sample.labels)  # anything else kills Triton's process
            values[sample.family][sample.labels].append(sample.value)
        return values


@pytest.fixture
def watched() -> Watched:
    return Watched()


def gauges(values, family: str) -> dict[str, float]:
    return {label: value for (label,), (value,) in values[family].items()}


def test_sequences_are_waiting_when_they_are_active_and_not_scheduled(watched):
    """Upstream's sum: waiting = active - scheduled, wherever a sequence waits."""
    values = watched.collect()
    assert gauges(values, "nv_trt_llm_request_metrics") == {
        "active": 9, "scheduled": 5, "waiting": 4, "context": 2, "max": 4
    }  # fmt: skip
    assert gauges(values, "nv_trt_llm_inflight_batcher_metrics") == {"generation_requests": 3, "paused_requests": 1}
    assert values["trident_queue_tokens"][()] == [120]


def test_nothing_waits_while_the_engine_still_drops_what_has_ended(watched):
    watched.load = Load(0, 0, 0)
    assert gauges(watched.collect(), "nv_trt_llm_request_metrics")["waiting"] == 0


def test_the_kv_cache_is_told_in_blocks(watched):
    assert gauges(watched.collect(), "nv_trt_llm_kv_cache_block_metrics") == {
        "fraction": 0.25, "max": 40, "used": 10, "free": 30, "tokens_per": 32, "reused": 7
    }  # fmt: skip


def test_the_timestamp_is_that_of_the_last_step_in_microseconds(watched):
    assert gauges(watched.collect(), "nv_trt_llm_general_metrics") == {"iteration_counter": 10, "timestamp": 1e9}
    watched.now = 1001.5
    assert gauges(watched.collect(), "nv_trt_llm_general_metrics")["timestamp"] == 1e9
    watched.stats = EngineStats(0, 0, 0.0, num_steps=11)
    assert gauges(watched.collect(), "nv_trt_llm_general_metrics")["timestamp"] == 1_001_500_000


def test_counts_of_the_engine_since_its_start_become_increases(watched):
    assert watched.collect()["trident_draft_tokens_total"] == {("proposed",): [30], ("accepted",): [20]}
    assert watched.collect()["trident_draft_tokens_total"] == {("proposed",): [0], ("accepted",): [0]}


def test_a_sequence_and_a_refusal_are_told_once(watched):
    watched.telemetry.request_ended(RECORD)
    watched.telemetry.response(3, 0.3)
    watched.telemetry.rejected(QueueFullError("full"))
    values = watched.collect()
    assert values["trident_requests_total"] == {("stop", "3", "none"): [1]}
    assert values["trident_rejected_requests_total"] == {("queue_full",): [1]}
    assert values["trident_prompt_tokens_total"] == {("none",): [100]}
    assert values["trident_generated_tokens_total"] == {("none",): [5]}
    assert values["trident_cached_prompt_tokens_total"] == {(): [64]}
    assert values["trident_coalesced_tokens_total"] == {(): [3]}
    assert values["nv_llm_input_token_len"] == {("total_input_tokens",): [100]}
    assert values["nv_llm_output_token_len"] == {("total_output_tokens",): [5]}
    assert values["trident_queue_seconds"] == {(): [0.25]}
    assert values["trident_time_to_first_token_seconds"] == {(): [0.5]}
    assert values["trident_time_per_output_token_seconds"] == {(): [0.5]}
    assert values["trident_request_seconds"] == {(): [2.5]}
    assert values["trident_inter_token_latency_seconds"] == {(): [pytest.approx(0.1)]}
    again = watched.collect()
    assert not again["trident_requests_total"]
    assert again["trident_responses_total"] == {(): [0]}


def test_what_has_ended_is_counted_before_a_gauge_says_that_it_is_gone(watched):
    """Who waits for active to be 0 (a stopping server, a test) then finds every count."""
    watched.telemetry.request_ended(RECORD)
    families = [sample.family for sample in watched.samples.collect()]
    counted = max(n for n, name in enumerate(families) if FAMILIES[name].kind is not Kind.GAUGE)
    assert counted < min(n for n, name in enumerate(families) if name == "nv_trt_llm_request_metrics")


def test_values_beyond_the_bound_of_a_histogram_are_counted_as_dropped(watched):
    for _ in range(MAX_OBSERVATIONS + 3):
        watched.telemetry.response(1, 0.1)
    values = watched.collect()
    assert len(values["trident_inter_token_latency_seconds"][()]) == MAX_OBSERVATIONS
    assert values["trident_dropped_observations_total"]["trident_inter_token_latency_seconds",] == [3]


@pytest.mark.parametrize(("is_simulated", "label"), [(False, "false"), (True, "true")])
def test_the_metrics_say_which_engine_it_is_and_whether_it_is_a_real_one(watched, is_simulated, label):
    watched.engine.is_simulated = is_simulated
    assert watched.collect()["trident_engine_info"] == {("openvino", "test", "1", label): [1]}


def test_an_engine_that_takes_over_is_named_instead_of_the_one_before_it(watched):
    watched.collect()
    watched.engine = ScriptedEngine()
    watched.engine.is_simulated = True
    watched.engine.stats = lambda: dataclasses.replace(STATS, num_draft_tokens=4, num_accepted_draft_tokens=3)
    values = watched.collect()
    assert values["trident_engine_info"] == {
        ("openvino", "test", "1", "false"): [0],
        ("openvino", "test", "1", "true"): [1],
    }
    assert values["trident_draft_tokens_total"] == {("proposed",): [4], ("accepted",): [3]}


def families_at_the_start(watched) -> set[str]:
    gauges_seen = {name for name in watched.collect() if FAMILIES[name].kind is Kind.GAUGE}
    return {name for name, _ in watched.samples.series()} | gauges_seen


def test_every_family_is_there_from_the_start_on_an_engine_that_knows_all(watched):
    assert families_at_the_start(watched) == {family.name for family in ENGINE_FAMILIES}


def test_what_an_engine_does_not_know_is_not_told_as_zero(watched):
    """An engine that tells of itself only what it must."""
    watched.stats = EngineStats(0, 0, 0.25, 0)
    missing = {"trident_draft_tokens_total", "trident_cached_prompt_tokens_total"}
    assert families_at_the_start(watched) == {family.name for family in ENGINE_FAMILIES} - missing
    watched.telemetry.request_ended(dataclasses.replace(RECORD, num_cached_tokens=None))
    values = watched.collect()
    assert not missing & {name for name, series in values.items() if series}
    assert gauges(values, "nv_trt_llm_kv_cache_block_metrics") == {"fraction": 0.25}


def test_an_engine_that_knows_what_was_accepted_only_tells_that(watched):
    watched.stats = dataclasses.replace(STATS, num_draft_tokens=None)
    assert watched.collect()["trident_draft_tokens_total"] == {("accepted",): [20]}
    watched.stats = dataclasses.replace(watched.stats, num_accepted_draft_tokens=25)
    assert watched.collect()["trident_draft_tokens_total"] == {("accepted",): [5]}


def test_an_engine_that_cannot_be_read_for_once_costs_no_count(watched):
    watched.telemetry.request_ended(RECORD)
    watched.engine.stats = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        watched.collect()
    watched.engine.stats = lambda: watched.stats
    values = watched.collect()
    assert values["trident_requests_total"] == {("stop", "3", "none"): [1]}
    assert values["trident_draft_tokens_total"] == {("proposed",): [30], ("accepted",): [20]}


def test_the_document_lists_every_value_that_a_label_can_have(watched):
    watched.telemetry.request_ended(RECORD)
    told = [(name, labels) for name, series in watched.collect().items() for labels in series]
    found = defaultdict(set)
    for name, labels in [*told, *watched.samples.series()]:
        for label, value in zip(FAMILIES[name].labels, labels, strict=True):
            found[label].add(value)
    listed = defaultdict(set)
    for label, value in re.findall(r"^\| `([a-z_]+)` \| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE):
        listed[label].add(value)
    described = {"priority", "lora", "histogram", "kind", "engine", "engine_version", "simulated"}
    assert {label: values for label, values in found.items() if label not in described} == listed
