"""Promises of /metrics on a real server: every family is there, and counts what was really asked and answered."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from tests.server.wire import outputs, prompts, request, stream_infer
from trident.engines.telemetry import REJECTIONS
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.triton_adapter.families import ENGINE_FAMILIES, FAMILIES
from trident_client import Client

_LINE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
NUM_TOKENS = 24
UNKNOWN = ("trident_draft_tokens_total", "trident_cached_prompt_tokens_total")  # to OpenVINO without speculation


class Metrics:
    """One reading of /metrics."""

    def __init__(self, server) -> None:
        self.text = httpx.get(f"http://{server.metrics_url}/metrics").text
        self._series = []
        for line in self.text.splitlines():
            if found := _LINE.match(line):
                self._series.append((found[1], dict(_LABEL.findall(found[2])), float(found[3])))

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name with these labels; 0 when there is none."""
        return sum(value for series, has, value in self._series if series == name and labels.items() <= has.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of every series of this name."""
        return [labels for series, labels, _ in self._series if series == name]

    def observed(self, histogram: str) -> float:
        """Values that it was given, those that it did not take included."""
        dropped = self.total("trident_dropped_observations_total", histogram=histogram)
        return self.total(f"{histogram}_count") + dropped


@pytest.fixture(scope="module")
def quiet_server(deployment):
    """A server of its own, whose watchdog asks for nothing: probes are requests like any other, and are counted."""
    with running_server(deployment.model_copy(update={**free_ports(), "probe_interval_s": 3600.0})) as running:
        yield running


@pytest.fixture
def metrics(quiet_server):
    """Reads /metrics once all that was asked has been counted."""
    return lambda: _settled(quiet_server)


def _settled(server) -> Metrics:
    """Two equal readings, further apart than two rounds of publishing, with nothing active."""
    deadline = time.monotonic() + 30
    last = ""
    while (now := Metrics(server)).total("nv_trt_llm_request_metrics", request_type="active") or _ours(now) != last:
        assert time.monotonic() < deadline
        last = _ours(now)
        time.sleep(1.2)
    return now


def _ours(metrics: Metrics) -> str:
    return "\n".join(line for line in metrics.text.splitlines() if line.startswith(("trident_", "nv_trt_", "nv_llm_")))


def test_every_family_that_the_engine_can_fill_is_there_with_its_kind_and_help(quiet_server, metrics):
    text = metrics().text
    assert not [name for name in UNKNOWN if name in text]
    for family in ENGINE_FAMILIES:
        if family.name in UNKNOWN:
            continue
        assert f"# TYPE {family.name} {family.kind.value}\n" in text
        assert f"# HELP {family.name} {family.description}\n" in text
        suffix = "_count" if family.buckets else ""
        (labels, *_) = Metrics(quiet_server).labels(family.name + suffix)
        assert set(labels) == {"model", "version", *family.labels}


def test_the_engine_is_named_and_is_a_real_one(deployment, metrics):
    (labels,) = metrics().labels("trident_engine_info")
    assert labels["engine"] == deployment.engine
    assert (labels["kind"], labels["simulated"]) == ("openvino", "false")


def test_a_streamed_request_is_counted_once_with_its_tokens_and_times(quiet_server, metrics):
    before = metrics()
    options = {
        "stream": ("BOOL", [True]),
        "max_tokens": ("INT32", [NUM_TOKENS]),
        "end_id": ("INT32", [-1]),
        "return_num_input_tokens": ("BOOL", [True]),
    }
    answers = stream_infer(quiet_server.grpc_url, prompts("1, 2, 3, 4, 5,", **options))
    after = metrics()

    def grown(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    (num_input_tokens,) = outputs(answers[-1])["num_input_tokens"]
    assert grown("trident_requests_total") == 1
    assert grown("trident_requests_total", finish_reason="length", priority="3", lora="none") == 1
    assert grown("trident_prompt_tokens_total", lora="none") == num_input_tokens
    assert grown("trident_generated_tokens_total", lora="none") == NUM_TOKENS
    assert grown("trident_responses_total") == len(answers)
    assert 0 <= grown("trident_coalesced_tokens_total") <= NUM_TOKENS
    for histogram in (
        "nv_llm_input_token_len",
        "nv_llm_output_token_len",
        "trident_queue_seconds",
        "trident_time_to_first_token_seconds",
        "trident_time_per_output_token_seconds",
        "trident_request_seconds",
    ):
        assert after.observed(histogram) - before.observed(histogram) == 1
    assert grown("nv_llm_input_token_len_sum") == num_input_tokens
    assert grown("nv_llm_output_token_len_sum") == NUM_TOKENS
    num_gaps = after.observed("trident_inter_token_latency_seconds") - before.observed(
        "trident_inter_token_latency_seconds"
    )
    assert len(answers) - 2 <= num_gaps <= len(answers) - 1  # the last response may be an end without a token
    first_token_s = grown("trident_time_to_first_token_seconds_sum")
    assert 0 <= grown("trident_queue_seconds_sum") <= first_token_s < grown("trident_request_seconds_sum")


def test_every_row_of_a_request_is_counted(quiet_server, metrics):
    before = metrics()
    answers = stream_infer(quiet_server.grpc_url, prompts("1, 2, 3,", "10, 11, 12,", "20, 21, 22,"))
    after = metrics()
    assert len(answers) == 3
    assert after.total("trident_requests_total") - before.total("trident_requests_total") == 3


def test_a_stream_that_is_left_is_counted_as_cancelled(quiet_server, metrics):
    cancelled = {"name": "trident_requests_total", "finish_reason": "cancelled"}
    before = metrics().total(**cancelled)
    with Client(quiet_server.grpc_url) as client, client.stream("1, 2, 3,", max_tokens=2000, end_id=-1) as deltas:
        next(iter(deltas))
    deadline = time.monotonic() + 30
    while Metrics(quiet_server).total(**cancelled) - before != 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_refused_requests_are_counted_by_who_refused_them_and_why(quiet_server, metrics):
    before = metrics()
    (too_long,) = stream_infer(quiet_server.grpc_url, prompts("word " * 5000))
    no_id = {"input_ids": ("INT32", [5]), "input_lengths": ("INT32", [1]), "request_output_len": ("INT32", [1])}
    (invalid,) = stream_infer(quiet_server.grpc_url, request("tensorrt_llm", **no_id, stop=("BOOL", [True])))
    assert isinstance(too_long, str)
    assert isinstance(invalid, str)
    after = metrics()
    grown = {
        (model, reason): after.total(name, model=model, reason=reason) - before.total(name, model=model, reason=reason)
        for name in ["trident_rejected_requests_total"]
        for model in ("preprocessing", "tensorrt_llm")
        for reason in REJECTIONS.values()
    }
    assert {key: count for key, count in grown.items() if count} == {
        ("preprocessing", "too_long"): 1,
        ("tensorrt_llm", "invalid"): 1,
    }
    assert after.total("trident_requests_total") == before.total("trident_requests_total")


def test_a_live_request_s_id_is_refused_as_invalid(quiet_server, metrics):
    refused = {"name": "trident_rejected_requests_total", "model": "tensorrt_llm", "reason": "invalid"}
    before = metrics()
    options = {"stream": ("BOOL", [True]), "max_tokens": ("INT32", [150]), "end_id": ("INT32", [-1])}
    twice = [prompts("1, 2, 3,", request_id="twice", **options) for _ in range(2)]
    answers = stream_infer(quiet_server.grpc_url, *twice)
    (error,) = [answer for answer in answers if isinstance(answer, str)]
    assert "a live request has the id 'twice'" in error
    after = metrics()
    assert after.total(**refused) - before.total(**refused) == 1
    assert after.total("trident_requests_total") - before.total("trident_requests_total") == 1


def test_what_the_checks_said_is_counted_by_check_action_and_mode(quiet_server, metrics):
    """The default policy enforces `lengths` and only watches `characters`, which would cut out a zero-width space."""
    before = metrics()
    (answer,) = stream_infer(quiet_server.grpc_url, prompts("1, 2,\u200b 3,"))
    assert not isinstance(answer, str)
    after = metrics()
    grown = {}
    for labels in after.labels("trident_checks_total"):
        if count := after.total("trident_checks_total", **labels) - before.total("trident_checks_total", **labels):
            grown[labels["model"], labels["check"], labels["action"], labels["enforced"]] = count
    assert grown == {
        ("preprocessing", "lengths", "allow", "true"): 1,
        ("preprocessing", "characters", "redact", "false"): 1,
    }


def gauge(reading: Metrics, kind: str, value: str) -> float:
    (label,) = FAMILIES[kind].labels
    return reading.total(kind, **{label: value})


ENDS = {
    "length": {"max_tokens": ("INT32", [100])},
    "stop": {"stop_words": ("BYTES", [b"12"])},
    "timeout": {"timeout_ms": ("INT32", [400])},
    "error": {
        "guided_decoding_guide_type": ("BYTES", [b"ebnf_grammar"]),
        "guided_decoding_guide": ("BYTES", [b'root ::= "a"{3,1}']),  # only the engine finds out
    },
    "cancelled": {},
}


@pytest.mark.parametrize("end", ENDS)
def test_after_every_kind_of_end_no_kv_block_is_held(quiet_server, metrics, end):
    """OpenVINO counts them itself; nothing on the way makes a 0 of what it says."""
    ended = {"name": "trident_requests_total", "finish_reason": end}
    before = metrics().total(**ended)
    options = {"max_tokens": ("INT32", [2000]), "end_id": ("INT32", [2 if end == "error" else -1]), **ENDS[end]}
    if end == "cancelled":
        with Client(quiet_server.grpc_url) as client, client.stream("1, 2, 3,", max_tokens=2000, end_id=-1) as deltas:
            next(iter(deltas))
    else:
        stream_infer(quiet_server.grpc_url, prompts("1, 2, 3, 4, 5, 6, 7,", **options))
    after = metrics()
    assert after.total(**ended) - before == 1
    assert gauge(after, "nv_trt_llm_kv_cache_block_metrics", "used") == 0
    assert gauge(after, "nv_trt_llm_kv_cache_block_metrics", "fraction") == 0


def test_the_engine_s_state_is_at_the_metrics_under_upstream_s_names(quiet_server, metrics):
    before = metrics()
    with Client(quiet_server.grpc_url) as client, client.stream("1, 2, 3,", max_tokens=250, end_id=-1) as deltas:
        readings = [Metrics(quiet_server) for number, _ in enumerate(deltas) if number % 20 == 0]
    assert max(gauge(reading, "nv_trt_llm_request_metrics", "active") for reading in readings) == 1
    assert max(gauge(reading, "nv_trt_llm_request_metrics", "scheduled") for reading in readings) == 1
    assert max(gauge(reading, "nv_trt_llm_kv_cache_block_metrics", "fraction") for reading in readings) > 0
    after = metrics()
    assert gauge(after, "nv_trt_llm_request_metrics", "active") == 0
    assert gauge(after, "nv_trt_llm_request_metrics", "max") == 64
    blocks = {value: gauge(after, "nv_trt_llm_kv_cache_block_metrics", value) for value in ("used", "free", "max")}
    assert blocks["used"] == gauge(after, "nv_trt_llm_kv_cache_block_metrics", "fraction") == 0
    assert blocks["free"] == blocks["max"] > 0
    num_steps = gauge(after, "nv_trt_llm_general_metrics", "iteration_counter") - gauge(
        before, "nv_trt_llm_general_metrics", "iteration_counter"
    )
    assert num_steps >= 250
    assert gauge(after, "nv_trt_llm_general_metrics", "timestamp") / 1e6 == pytest.approx(time.time(), abs=60)
