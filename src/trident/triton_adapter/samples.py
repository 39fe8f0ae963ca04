"""What the engine model has to tell, in the words of the table of families. It knows nothing of Triton."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain

from trident.engines.base import Engine, EngineStats
from trident.engines.dispatcher import Load
from trident.engines.parameters import DEFAULT_PRIORITY
from trident.engines.telemetry import NO_LORA, REJECTIONS, Measure, Snapshot, Telemetry
from trident.manifest import Manifest
from trident.triton_adapter.families import Sample

_FINISH_REASONS = ("stop", "length", "cancelled", "timeout", "error")
_HISTOGRAMS: dict[Measure, tuple[str, tuple[str, ...]]] = {
    Measure.NUM_INPUT_TOKENS: ("nv_llm_input_token_len", ("total_input_tokens",)),
    Measure.NUM_OUTPUT_TOKENS: ("nv_llm_output_token_len", ("total_output_tokens",)),
    Measure.QUEUE_S: ("trident_queue_seconds", ()),
    Measure.FIRST_TOKEN_S: ("trident_time_to_first_token_seconds", ()),
    Measure.INTER_TOKEN_S: ("trident_inter_token_latency_seconds", ()),
    Measure.OUTPUT_TOKEN_S: ("trident_time_per_output_token_seconds", ()),
    Measure.REQUEST_S: ("trident_request_seconds", ()),
}


class EngineSamples:
    """Reads the engine, the dispatcher and the telemetry of one engine model. For one thread."""

    def __init__(
        self,
        newest: Callable[[], tuple[Engine, Manifest]],
        telemetry: Telemetry,
        load: Callable[[], Load],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`newest`: the engine that takes new requests; `load`: of all that run; `clock`: seconds since 1970."""
        self._newest = newest
        self._engine, self._manifest = newest()
        self._telemetry = telemetry
        self._load = load
        self._clock = clock
        self._last: EngineStats | None = None
        self._served: set[tuple[str, str, str, str]] = set()  # labels of every engine so far
        self._stepped_at = 0.0

    def series(self) -> list[tuple[str, tuple[str, ...]]]:
        """Counters and histograms that are there from the start: `rate` does not see the first value of a series.

        Those are left out of which the engine knows nothing: a count that stays 0 would say that it has none.
        """
        stats = self._engine.stats()
        reasons = [("trident_requests_total", (reason, str(DEFAULT_PRIORITY), NO_LORA)) for reason in _FINISH_REASONS]
        histograms = list(_HISTOGRAMS.values())
        return [
            *reasons,
            *rejection_series(),
            *histograms,
            *[("trident_dropped_observations_total", (name,)) for name, _ in histograms],
            *[("trident_draft_tokens_total", (outcome,)) for outcome, _ in _draft_tokens(stats)],
            *([] if stats.num_reused_blocks is None else [("trident_cached_prompt_tokens_total", ())]),
            ("trident_prompt_tokens_total", (NO_LORA,)),
            ("trident_generated_tokens_total", (NO_LORA,)),
            ("trident_responses_total", ()),
            ("trident_coalesced_tokens_total", ()),
        ]

    def collect(self) -> list[Sample]:
        """Everything since the last call; what has ended is counted before a gauge says that it is gone.

        It is the caller's from then on: the next call does not tell it again.
        """
        engine, self._manifest = self._newest()
        if engine is not self._engine:
            self._engine, self._last = engine, None
        load = self._load()  # first, for the same reason
        stats = self._engine.stats()
        snapshot = self._telemetry.take()  # last, for what is taken must arrive
        samples = chain(
            _counted(snapshot),
            _observed(snapshot),
            self._speculated(stats),
            self._steps(stats),
            _blocks(stats),
            self._sequences(stats, load),
            self._info(),
        )
        told = list(samples)
        self._last = stats
        return told

    def _info(self) -> Iterator[Sample]:
        manifest = self._manifest
        simulated = "true" if self._engine.is_simulated else "false"
        served = (manifest.kind.value, manifest.name, manifest.version, simulated)
        self._served.add(served)
        for labels in self._served:  # those that were replaced are said to be gone
            yield Sample("trident_engine_info", labels, float(labels == served))

    def _sequences(self, stats: EngineStats, load: Load) -> Iterator[Sample]:
        family = "nv_trt_llm_request_metrics"
        yield Sample(family, ("waiting",), max(0, load.num_live - stats.num_running))
        yield Sample(family, ("context",), stats.num_prefilling)
        yield Sample(family, ("scheduled",), stats.num_running)
        yield Sample(family, ("max",), self._manifest.limits.max_num_seqs)
        yield Sample(family, ("active",), load.num_live)
        batcher = "nv_trt_llm_inflight_batcher_metrics"
        yield Sample(batcher, ("generation_requests",), stats.num_running - stats.num_prefilling)
        yield Sample(batcher, ("paused_requests",), stats.num_paused)
        yield Sample("trident_queue_tokens", (), load.num_waiting_tokens)

    def _steps(self, stats: EngineStats) -> Iterator[Sample]:
        if self._last is None or stats.num_steps != self._last.num_steps:
            self._stepped_at = self._clock()
        yield Sample("nv_trt_llm_general_metrics", ("iteration_counter",), stats.num_steps)
        yield Sample("nv_trt_llm_general_metrics", ("timestamp",), round(self._stepped_at * 1e6))

    def _speculated(self, stats: EngineStats) -> Iterator[Sample]:
        before = dict(_draft_tokens(self._last)) if self._last else {}
        for outcome, count in _draft_tokens(stats):
            yield Sample("trident_draft_tokens_total", (outcome,), count - before.get(outcome, 0))


def _draft_tokens(stats: EngineStats) -> list[tuple[str, int]]:
    """(outcome, tokens since the start), as far as the engine knows them."""
    counts = (("proposed", stats.num_draft_tokens), ("accepted", stats.num_accepted_draft_tokens))
    return [(outcome, count) for outcome, count in counts if count is not None]


def rejection_series() -> list[tuple[str, tuple[str, ...]]]:
    """One for every reason there is."""
    return [("trident_rejected_requests_total", (reason,)) for reason in REJECTIONS.values()]


def _counted(snapshot: Snapshot) -> Iterator[Sample]:
    for (finish_reason, priority, lora), count in snapshot.requests.items():
        yield Sample("trident_requests_total", (finish_reason, str(priority), lora), count)
    for reason, count in snapshot.rejected.items():
        yield Sample("trident_rejected_requests_total", (reason,), count)
    for lora, count in snapshot.prompt_tokens.items():
        yield Sample("trident_prompt_tokens_total", (lora,), count)
    for lora, count in snapshot.generated_tokens.items():
        yield Sample("trident_generated_tokens_total", (lora,), count)
    if snapshot.num_cached_tokens is not None:
        yield Sample("trident_cached_prompt_tokens_total", (), snapshot.num_cached_tokens)
    yield Sample("trident_responses_total", (), snapshot.num_responses)
    yield Sample("trident_coalesced_tokens_total", (), snapshot.num_coalesced_tokens)


def _observed(snapshot: Snapshot) -> Iterator[Sample]:
    for measure, draw in snapshot.drawn.items():
        family, labels = _HISTOGRAMS[measure]
        yield Sample("trident_dropped_observations_total", (family,), draw.num_dropped)
        for value in draw.values:
            yield Sample(family, labels, value)


def _blocks(stats: EngineStats) -> Iterator[Sample]:
    family = "nv_trt_llm_kv_cache_block_metrics"
    yield Sample(family, ("fraction",), stats.kv_cache_fraction)
    if stats.max_kv_blocks is not None:
        used = round(stats.kv_cache_fraction * stats.max_kv_blocks)
        yield Sample(family, ("used",), used)
        yield Sample(family, ("free",), stats.max_kv_blocks - used)
        yield Sample(family, ("max",), stats.max_kv_blocks)
    if stats.kv_block_tokens is not None:
        yield Sample(family, ("tokens_per",), stats.kv_block_tokens)
    if stats.num_reused_blocks is not None:
        yield Sample(family, ("reused",), stats.num_reused_blocks)
