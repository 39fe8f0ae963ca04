"""Every family of metrics that Trident adds to Triton's own: one table that code, tests and docs/metrics.md share.

Families under an `nv_` name are upstream's (TensorRT-LLM's `custom_metrics_reporter`), so that its dashboards and
autoscalers work unchanged. The table knows nothing of where the values come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

COMMON_LABELS = ("model", "version")  # Triton's model and its version: the first labels of every family


class Kind(Enum):
    """Of a Prometheus metric."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One name at /metrics."""

    name: str
    kind: Kind
    labels: tuple[str, ...]  # after COMMON_LABELS
    unit: str
    description: str  # the HELP line
    buckets: tuple[float, ...] = ()  # upper ends; +Inf goes without saying

    @property
    def is_upstream(self) -> bool:
        """Whether NVIDIA's repository has a family of this name with these labels."""
        return self.name.startswith("nv_")


@dataclass(frozen=True)
class Sample:
    """What one series is told: a gauge its level, a counter its increase, a histogram one observation."""

    family: str
    labels: tuple[str, ...]  # values, in the order of the family's labels
    value: float


_LENGTHS = (10, 50, 100, 500, 1000)  # upstream's
_WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PAUSES = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)
_REQUESTS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


def _gauge(name: str, labels: tuple[str, ...], unit: str, description: str) -> Family:
    return Family(name, Kind.GAUGE, labels, unit, description)


def _counter(name: str, labels: tuple[str, ...], unit: str, description: str) -> Family:
    return Family(name, Kind.COUNTER, labels, unit, description)


def _histogram(
    name: str, unit: str, description: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
) -> Family:
    return Family(name, Kind.HISTOGRAM, labels, unit, description, buckets)


REJECTED = _counter(
    "trident_rejected_requests_total", ("reason",), "requests", "Requests refused and never admitted by this model"
)
CHECKS = _counter(
    "trident_checks_total",
    ("check", "action", "enforced"),
    "verdicts",
    "Verdicts of the validation and safety checks; enforced=false: only watched",
)
TEXT_INFO = _gauge(
    "trident_text_info",
    ("manifest_sha256", "templates_sha256", "policy_sha256"),
    "",
    "Always 1; the labels say which engine, prompt templates and policy make the texts",
)
DROPPED = _counter(
    "trident_dropped_observations_total", ("histogram",), "observations", "Values that a histogram did not take"
)
ENGINE_FAMILIES = (
    _gauge("nv_trt_llm_request_metrics", ("request_type",), "sequences", "Sequences by where they are"),
    _gauge("nv_trt_llm_kv_cache_block_metrics", ("kv_cache_block_type",), "blocks", "The KV cache, by blocks"),
    _gauge(
        "nv_trt_llm_inflight_batcher_metrics",
        ("inflight_batcher_specific_metric",),
        "sequences",
        "Sequences in the batch of the last step",
    ),
    _gauge("nv_trt_llm_general_metrics", ("general_type",), "steps, microseconds", "Steps of the engine"),
    _histogram("nv_llm_input_token_len", "tokens", "Prompt tokens of a sequence", _LENGTHS, ("response_metric_type",)),
    _histogram(
        "nv_llm_output_token_len", "tokens", "Generated tokens of a sequence", _LENGTHS, ("response_metric_type",)
    ),
    _histogram("trident_queue_seconds", "seconds", "From arrival until handed to the engine", _WAITS),
    _histogram("trident_time_to_first_token_seconds", "seconds", "From arrival to the first token", _WAITS),
    _histogram(
        "trident_inter_token_latency_seconds",
        "seconds",
        "Between two responses of a stream, by the tokens of the second",
        _PAUSES,
    ),
    _histogram(
        "trident_time_per_output_token_seconds", "seconds", "Mean of a sequence, without its first token", _PAUSES
    ),
    _histogram("trident_request_seconds", "seconds", "From arrival to the last response", _REQUESTS),
    _counter(
        "trident_requests_total", ("finish_reason", "priority", "lora"), "sequences", "Admitted sequences that ended"
    ),
    REJECTED,
    _counter("trident_prompt_tokens_total", ("lora",), "tokens", "Prompt tokens of sequences that ended"),
    _counter("trident_generated_tokens_total", ("lora",), "tokens", "Generated tokens of sequences that ended"),
    _counter("trident_cached_prompt_tokens_total", (), "tokens", "Prompt tokens found in the prefix cache"),
    _counter("trident_responses_total", (), "responses", "Responses sent by the engine model"),
    _counter("trident_coalesced_tokens_total", (), "tokens", "Streamed tokens that left in a response with others"),
    _counter("trident_draft_tokens_total", ("outcome",), "tokens", "Tokens of speculative decoding"),
    DROPPED,
    _gauge("trident_queue_tokens", (), "tokens", "Prompt tokens of sequences that wait for a place in the batch"),
    _gauge(
        "trident_engine_info",
        ("kind", "engine", "engine_version", "simulated"),
        "",
        "Always 1; the labels say which engine is served",
    ),
)
TEXT_FAMILIES = (CHECKS, REJECTED, TEXT_INFO)
FAMILIES = {family.name: family for family in (*ENGINE_FAMILIES, *TEXT_FAMILIES)}
