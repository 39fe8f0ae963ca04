"""`trident metrics`: one reading of a server's metrics, as the few figures that people ask for, or all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from trident.cli.connection import ApiKey, CaFile, CertFile, KeyFile, connection_of
from trident.cli.table import print_table

if TYPE_CHECKING:
    from trident_client.metrics import Metrics

Row = tuple[str, str]
_COUNTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sequences running", "nv_trt_llm_request_metrics", {"request_type": "scheduled"}),
    ("sequences waiting", "nv_trt_llm_request_metrics", {"request_type": "waiting"}),
    ("places in the batch", "nv_trt_llm_request_metrics", {"request_type": "max"}),
    ("KV cache blocks used", "nv_trt_llm_kv_cache_block_metrics", {"kv_cache_block_type": "used"}),
    ("KV cache blocks", "nv_trt_llm_kv_cache_block_metrics", {"kv_cache_block_type": "max"}),
    ("prompt tokens", "trident_prompt_tokens_total", {}),
    ("of those from the cache", "trident_cached_prompt_tokens_total", {}),
    ("generated tokens", "trident_generated_tokens_total", {}),
    ("sequences ended", "trident_requests_total", {}),
    ("requests refused", "trident_rejected_requests_total", {}),
)
_TIMES = (
    ("time in the queue", "trident_queue_seconds"),
    ("time to first token", "trident_time_to_first_token_seconds"),
    ("inter-token latency", "trident_inter_token_latency_seconds"),
    ("whole request", "trident_request_seconds"),
)


def metrics(
    *,
    url: Annotated[str | None, typer.Option(help="host:port of the metrics; this machine's by default")] = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    show_all: Annotated[bool, typer.Option("--all", help="every series, as name{labels} and value")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="every series as JSON")] = False,
) -> None:
    """What a server counts and times of itself, since it started."""
    import asyncio

    from trident_client.metrics import read_metrics

    connection = connection_of(api_key, ca_file, cert_file, key_file)
    reading = asyncio.run(read_metrics(url or _own_url(), connection))
    if as_json:
        print(
            json.dumps(
                [{"name": each.name, "labels": dict(each.labels), "value": each.value} for each in reading.samples]
            )
        )
    elif show_all:
        print_table(
            ["series", "value"], [(_series(each.name, each.labels), f"{each.value:g}") for each in reading.samples]
        )
    else:
        print_table(["figure", "value"], _summary(reading))


def _own_url() -> str:
    from trident.settings import read_settings

    settings = read_settings()
    return f"{settings.loopback}:{settings.metrics_port}"


def _series(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}" if labels else name


def _summary(reading: Metrics) -> list[Row]:
    """What there is of it: NVIDIA's own backends publish only some of these series."""
    info = next((each.labels for each in reading.samples if each.name == "trident_engine_info"), None)
    rows: list[Row] = [] if info is None else [("engine", f"{info.get('engine')} ({info.get('kind')})")]
    for title, name, labels in _COUNTS:
        if (total := reading.total(name, **labels)) is not None:
            rows.append((title, f"{total:.0f}"))
    for title, name in _TIMES:
        if quantiles := [_quantile(reading, name, share) for share in (0.5, 0.99)]:
            shown = [
                f"{share} {1000 * value:.1f} ms"
                for share, value in zip(("p50", "p99"), quantiles, strict=True)
                if value
            ]
            rows += [(title, ", ".join(shown))] if shown else []
    return rows


def _quantile(reading: Metrics, name: str, share: float) -> float | None:
    """Seconds, by linear interpolation in the bucket, as Prometheus' histogram_quantile; None without observations."""
    counts: dict[float, float] = {}  # upper bound -> observations up to it
    for each in reading.samples:
        if each.name == f"{name}_bucket":
            bound = float(each.labels["le"])
            counts[bound] = counts.get(bound, 0.0) + each.value
    if not counts or not (total := counts.get(math.inf, 0.0)):
        return None
    low, before = 0.0, 0.0
    for bound, count in sorted(counts.items()):
        if count >= share * total:
            return low if bound == math.inf else low + (bound - low) * (share * total - before) / (count - before)
        low, before = bound, count
    return low
