"""Publishes Trident's metrics through Triton: `pb_utils.MetricFamily`, at the server's own /metrics.

Triton 2.51 takes 15 to 85 microseconds for each value (a round trip to the server's process), so
nothing here is called for a token or a response: a thread publishes twice a second what has changed since. A label
that is no string ends the model process there, without a word.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import triton_python_backend_utils as pb_utils

from trident.engines.base import Engine
from trident.engines.dispatcher import Load
from trident.engines.telemetry import Telemetry, rejection_of
from trident.errors import TridentError
from trident.manifest import Manifest
from trident.safety.verdict import Verdict
from trident.triton_adapter.families import (
    CHECKS,
    COMMON_LABELS,
    DROPPED,
    ENGINE_FAMILIES,
    FAMILIES,
    REJECTED,
    TEXT_FAMILIES,
    TEXT_INFO,
    Family,
    Kind,
    Sample,
)
from trident.triton_adapter.samples import EngineSamples, rejection_series

INTERVAL_S = 0.5
_Series = tuple[str, tuple[str, ...]]  # family, its labels' values


class Publisher:
    """A thread that brings samples to Triton, each series created when it is first needed."""

    def __init__(
        self,
        args: dict[str, str],
        families: Iterable[Family],
        series: Iterable[_Series],
        collect: Callable[[], Iterable[Sample]],
    ) -> None:
        """Start to publish.

        Args:
            args: of the model's `initialize`.
            families: all that `collect` names.
            series: there from the start, at zero.
            collect: what is new; called twice a second.
        """
        self._common = (args["model_name"], args["model_version"])
        self._families = {family.name: _triton_family(family) for family in families}
        self._collect = collect
        self._metrics: dict[_Series, Any] = {}
        self._levels: dict[_Series, float] = {}  # of gauges, as Triton has them
        self._owed: defaultdict[_Series, float] = defaultdict(float)  # increases of counters, not taken yet
        self._complaint = ""
        for family_name, labels in series:
            self._metric(family_name, labels)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Publish the last values and stop."""
        self._closing.set()
        self._thread.join()

    def publish(self) -> None:
        """Bring what is new to Triton; what one series does not take, no other misses.

        A counter then catches up in a later round, a gauge is set again, and what a histogram missed is counted as
        dropped.
        """
        samples: defaultdict[Kind, list[Sample]] = defaultdict(list)
        for sample in self._collect():
            samples[FAMILIES[sample.family].kind].append(sample)
        for sample in samples[Kind.HISTOGRAM]:
            if not self._is_taken("observe", sample.family, sample.labels, sample.value):
                self._owed[DROPPED.name, (sample.family,)] += 1
        for sample in samples[Kind.COUNTER]:
            self._owed[sample.family, sample.labels] += sample.value
        for series, increase in list(self._owed.items()):
            if not increase or self._is_taken("increment", *series, increase):
                del self._owed[series]
        for sample in samples[Kind.GAUGE]:  # last: who sees that nothing is active any more finds every count
            level = sample.family, sample.labels
            if self._levels.get(level) != sample.value and self._is_taken("set", *level, sample.value):
                self._levels[level] = sample.value

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(INTERVAL_S)
            try:
                self.publish()
            except Exception as exc:  # noqa: BLE001 - the next round may work, and requests do not depend on it
                self._complain(exc)

    def _is_taken(self, verb: str, family: str, labels: tuple[str, ...], value: float) -> bool:
        try:
            getattr(self._metric(family, labels), verb)(value)
        except Exception as exc:  # noqa: BLE001 - whatever Triton has against this series, the others go on
            self._complain(exc)
            return False
        return True

    def _complain(self, exc: Exception) -> None:
        last, self._complaint = self._complaint, f"metrics could not be published: {type(exc).__name__}: {exc}"
        if self._complaint != last:  # else twice a second
            pb_utils.Logger.log_error(self._complaint)

    def _metric(self, family_name: str, values: tuple[str, ...]) -> Any:
        metric = self._metrics.get((family_name, values))
        if metric is None:
            family = FAMILIES[family_name]
            labels = dict(zip((*COMMON_LABELS, *family.labels), (*self._common, *values), strict=True))
            more = {"buckets": list(family.buckets)} if family.buckets else {}
            metric = self._families[family_name].Metric(labels=labels, **more)
            self._metrics[family_name, values] = metric
        return metric


def _triton_family(family: Family) -> Any:
    kind = getattr(pb_utils.MetricFamily, family.kind.name)  # a class that is not there yet when a model is imported
    return pb_utils.MetricFamily(name=family.name, description=family.description, kind=kind)


class EngineMetrics:
    """Of the model `tensorrt_llm`."""

    def __init__(
        self,
        args: dict[str, str],
        newest: Callable[[], tuple[Engine, Manifest]],
        telemetry: Telemetry,
        load: Callable[[], Load],
    ) -> None:
        """`newest`: the engine that takes new requests; `load`: of all that still run."""
        samples = EngineSamples(newest, telemetry, load)
        self._publisher = Publisher(args, ENGINE_FAMILIES, samples.series(), samples.collect)

    def close(self) -> None:
        """Publish the last values and stop."""
        self._publisher.close()


class CheckMetrics:
    """Of `preprocessing` and `postprocessing`: what their checks said, and what they refused."""

    def __init__(self, args: dict[str, str], made_with: Callable[[], tuple[str, ...]] | None = None) -> None:
        """`made_with`: the labels of `trident_text_info` now; None: the other model tells."""
        self._lock = threading.Lock()
        self._gathered: Counter[_Series] = Counter()
        self._made_with = made_with
        self._told: set[tuple[str, ...]] = set()
        self._publisher = Publisher(args, TEXT_FAMILIES, rejection_series(), self._take)

    def count(self, verdicts: Iterable[Verdict]) -> None:
        """Count the verdicts on one text."""
        with self._lock:
            for verdict in verdicts:
                enforced = "true" if verdict.is_enforced else "false"
                self._gathered[CHECKS.name, (verdict.check, verdict.action.value, enforced)] += 1

    def rejected(self, error: TridentError) -> None:
        """Count a request that this model refused."""
        with self._lock:
            self._gathered[REJECTED.name, (rejection_of(error),)] += 1

    def close(self) -> None:
        """Publish the last counts and stop."""
        self._publisher.close()

    def _take(self) -> list[Sample]:
        with self._lock:
            taken, self._gathered = self._gathered, Counter()
        return [*(Sample(family, labels, count) for (family, labels), count in taken.items()), *self._info()]

    def _info(self) -> list[Sample]:
        if self._made_with is None:
            return []
        now = self._made_with()
        self._told.add(now)
        return [Sample(TEXT_INFO.name, labels, float(labels == now)) for labels in self._told]
