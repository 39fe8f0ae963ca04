"""What trident.triton_adapter.metrics uses of Triton's backend module, which is there inside of Triton only.

The server tests say the same of the real one (tests/server/test_metrics.py).
"""

from __future__ import annotations

from collections import defaultdict


class FakeTriton:
    """Keeps what every series was told; those in `refusing` raise as a lost round trip to the server does."""

    def __init__(self) -> None:
        self.levels: dict[tuple[str, ...], float] = {}
        self.counts: dict[tuple[str, ...], float] = defaultdict(float)
        self.observed: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.refusing: set[str] = set()  # families
        self.log: list[str] = []
        fake = self

        class Metric:
            def __init__(self, family: str, labels: dict[str, str]) -> None:
                self.series = (family, *list(labels.values())[2:])

            def _told(self) -> tuple[str, ...]:
                if self.series[0] in fake.refusing:
                    raise RuntimeError("Failed to send the metric")
                return self.series

            def set(self, value: float) -> None:
                fake.levels[self._told()] = value

            def increment(self, value: float) -> None:
                fake.counts[self._told()] += value

            def observe(self, value: float) -> None:
                fake.observed[self._told()].append(value)

        class MetricFamily:
            GAUGE, COUNTER, HISTOGRAM = range(3)

            def __init__(self, name: str, description: str, kind: int) -> None:
                self.name = name

            def Metric(self, labels: dict[str, str], buckets: list[float] | None = None) -> Metric:  # noqa: N802 - Triton's name
                return Metric(self.name, labels)

        class Logger:
            @staticmethod
            def log_error(message: str) -> None:
                fake.log.append(message)

        self.MetricFamily = MetricFamily
        self.Logger = Logger
