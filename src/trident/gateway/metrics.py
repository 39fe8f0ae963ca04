"""The gateway's Prometheus page: every generation as an observer sees it, every HTTP answer by route and status.

No label comes from a client: a model is a route's name, and of tenants only so many are told apart.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from trident.errors import codes_of
from trident.gateway import genai_names as names
from trident.gateway.asked import Asked, Outcome

_MAX_TENANTS = 200
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # set for several workers, before prometheus_client is imported


class Metrics:
    """An observer. Of one process, or with several workers of all of them."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nobody reads
        self.registry = CollectorRegistry()
        self._tenants: set[str] = set()
        self._counters()
        labels = [names.prometheus_name(name) for name in (names.OPERATION, names.PROVIDER_NAME, names.REQUEST_MODEL)]
        self._duration = self._histogram(names.REQUEST_DURATION, "whole requests", [*labels, "error_type"])
        self._ttft = self._histogram(names.TIME_TO_FIRST_TOKEN, "until the first delta", labels)
        self._per_token = self._histogram(names.TIME_PER_OUTPUT_TOKEN, "between tokens after the first", labels)
        token_type = names.prometheus_name(names.TOKEN_TYPE)
        self._usage = self._histogram(names.TOKEN_USAGE, "tokens of a request", [*labels, token_type], unit="")

    def began(self, asked: Asked) -> None:
        """As an observer of exchanges."""
        self._running.labels(asked.model).inc()

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        asked = outcome.asked
        self._running.labels(asked.model).dec()
        model, tenant = outcome.model, self._tenant(asked.identity.tenant)
        self._requests.labels(model, tenant, asked.api, _status_of(outcome)).inc()
        if outcome.num_retries:
            self._failovers.labels(model).inc(outcome.num_retries)
        for kind, number in (
            ("input", outcome.num_input_tokens),
            ("output", outcome.num_output_tokens),
            ("cached", outcome.num_cached_tokens),
        ):
            self._tokens.labels(model, tenant, kind).inc(number)
        self._cost.labels(model, tenant).inc(outcome.cost)
        if outcome.cache:
            self._hits.labels(model, outcome.cache).inc()
        self._observe(outcome, (asked.operation, names.PROVIDER, model))

    def answered(self, route: str, status: int) -> None:
        """An HTTP request at `route`, a path with its parameters' names, got `status`; 0: its client left before."""
        self._responses.labels(route, str(status) if status else "gone").inc()

    def rpc_answered(self, method: str, status: str) -> None:
        """A gRPC call, or a request in a stream, got `status`, one of gRPC's names."""
        self._rpcs.labels(method, status).inc()

    def reloaded(self, *, is_good: bool) -> None:
        """The configuration file was rewritten."""
        self._reloads.labels("taken" if is_good else "refused").inc()

    def counted_alone(self) -> None:
        """A request was held against this process's own limits, because Redis was away."""
        self._alone.inc()

    def lost(self, kind: str) -> None:
        """The ledger had no room for a fact or for a text."""
        self._lost.labels(kind).inc()

    def verified(self, is_right: bool) -> None:
        """The answer of a semantic hit was compared with the engine's own."""
        self._verifications.labels("right" if is_right else "false").inc()

    def page(self) -> bytes:
        """In Prometheus' text form."""
        if _MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _observe(self, outcome: Outcome, labels: tuple[str, str, str]) -> None:
        error_type = "" if outcome.error is None else type(outcome.error).__name__
        self._duration.labels(*labels, error_type).observe(outcome.duration_s)
        if outcome.ttft_s is not None:
            self._ttft.labels(*labels).observe(outcome.ttft_s)
            if outcome.num_output_tokens > 1:
                rest_s = max(0.0, outcome.duration_s - outcome.ttft_s)
                self._per_token.labels(*labels).observe(rest_s / (outcome.num_output_tokens - 1))
            self._usage.labels(*labels, "input").observe(outcome.num_input_tokens)
            self._usage.labels(*labels, "output").observe(outcome.num_output_tokens)

    def _counters(self) -> None:
        registry, prefix = self.registry, "trident_gateway_"
        self._requests = Counter(
            prefix + "requests", "Generations that were let in, by how they ended",
            ["model", "tenant", "api", "status"], registry=registry,
        )  # fmt: skip
        self._responses = Counter(prefix + "http_responses", "HTTP answers", ["route", "status"], registry=registry)
        self._rpcs = Counter(
            prefix + "grpc_responses", "Answers to gRPC calls, and in streams to each request", ["method", "status"],
            registry=registry,
        )  # fmt: skip
        self._tokens = Counter(prefix + "tokens", "Tokens", ["model", "tenant", "type"], registry=registry)
        self._cost = Counter(prefix + "cost", "At the routes' prices", ["model", "tenant"], registry=registry)
        self._failovers = Counter(
            prefix + "failovers", "Deployments that could not begin to answer", ["model"], registry=registry
        )
        self._hits = Counter(prefix + "cache_hits", "Answers from the cache", ["model", "how"], registry=registry)
        self._verifications = Counter(
            prefix + "semantic_verifications", "Semantic hits that were asked of the engine too", ["result"],
            registry=registry,
        )  # fmt: skip
        self._lost = Counter(
            prefix + "ledger_lost",
            "What the ledger had no room for: facts, or texts alone",
            ["kind"],
            registry=registry,
        )
        self._alone = Counter(
            prefix + "limits_counted_alone", "Requests let in or refused while Redis was away", registry=registry
        )
        self._reloads = Counter(prefix + "config_reloads", "Rewrites of the file", ["result"], registry=registry)
        self._running = Gauge(
            prefix + "running_requests", "Generations that run", ["model"], registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip

    def _histogram(self, name: str, text: str, labels: list[str], unit: str = "seconds") -> Histogram:
        return Histogram(
            names.prometheus_name(name, unit), text, labels, registry=self.registry, buckets=names.BUCKETS[name]
        )

    def _tenant(self, tenant: str) -> str:
        if tenant not in self._tenants:
            if len(self._tenants) >= _MAX_TENANTS:
                return "(others)"
            self._tenants.add(tenant)
        return tenant


def _status_of(outcome: Outcome) -> str:
    if outcome.is_cancelled:
        return "cancelled"
    return "ok" if outcome.error is None else codes_of(outcome.error).openai_code or "server_error"
