"""How the deployments stand: what the gateway sees of them, whether they answer, and what their engines say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from trident.errors import TridentError
from trident.gateway.deployment_state import DeploymentState
from trident.gateway.load_watcher import FAMILY, INFO_FAMILY
from trident.gateway.overview.figures import DeploymentFigures, EngineFigures
from trident.gateway.upstreams import Upstreams
from trident_client.metrics import Metrics

_KV_FAMILY = "nv_trt_llm_kv_cache_block_metrics"
_PATIENCE_S = 1.0
T = TypeVar("T")

Answers = tuple[bool | None, EngineFigures | None]


async def read_engines(states: Mapping[str, DeploymentState], upstreams: Upstreams) -> dict[str, Answers]:
    """By deployment: whether it is ready, and its engine; None where it does not say. All are asked at once."""
    names = list(states)
    answers = await asyncio.gather(*[_ask(states[name], upstreams) for name in names])
    return dict(zip(names, answers, strict=True))


def deployment_figures(state: DeploymentState, answers: Answers) -> DeploymentFigures:
    """`answers`: of `read_engines`."""
    is_ready, engine = answers
    deployment = state.deployment
    return DeploymentFigures(
        name=state.name,
        address=_address(deployment.url),
        version=deployment.version,
        ready=is_ready,
        breaker=state.breaker.state,
        obstacle=state.obstacle() or None,
        running=state.num_running,
        max_concurrent=deployment.max_concurrent,
        engine=engine,
    )


def engine_figures(metrics: Metrics, engine_model: str | None) -> EngineFigures | None:
    """From a page of metrics, of one engine model or of all of them; None: it tells nothing of sequences."""
    labels = {} if engine_model is None else {"model": engine_model}
    running, waiting, active, places = (
        _finite(metrics.total(FAMILY, request_type=kind, **labels))
        for kind in ("scheduled", "waiting", "active", "max")
    )
    if running is None and active is None:
        return None
    blocks, used = (_finite(metrics.total(_KV_FAMILY, kv_cache_block_type=kind, **labels)) for kind in ("max", "used"))
    return EngineFigures(
        name=_engine_name(metrics),
        model=engine_model,
        running=(running if running is not None else active) or 0.0,
        waiting=waiting or 0.0,
        places=places,
        kv_used=used / blocks if blocks and used is not None else _largest_share(metrics, labels),
        kv_blocks=blocks,
    )


def _largest_share(metrics: Metrics, labels: Mapping[str, str]) -> float | None:
    """Of engines that do not count blocks."""
    wanted = {"kv_cache_block_type": "fraction", **labels}
    shares = [
        sample.value
        for sample in metrics.samples
        if sample.name == _KV_FAMILY and wanted.items() <= dict(sample.labels).items() and math.isfinite(sample.value)
    ]
    return max(shares, default=None)


def _finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return value if value is not None and math.isfinite(value) else None


def _engine_name(metrics: Metrics) -> str:
    served = [sample.labels for sample in metrics.samples if sample.name == INFO_FAMILY and sample.value]
    return ", ".join(f"{labels.get('engine', '')} {labels.get('engine_version', '')}".strip() for labels in served)


async def _ask(state: DeploymentState, upstreams: Upstreams) -> Answers:
    try:
        client = upstreams[state.name]
    except TridentError:
        return None, None
    is_ready, metrics = await asyncio.gather(_within(client.is_ready()), _within(client.metrics()))
    return is_ready, None if metrics is None else engine_figures(metrics, state.deployment.engine_model)


async def _within(answer: Awaitable[T]) -> T | None:
    try:
        return await asyncio.wait_for(answer, _PATIENCE_S)
    except (TridentError, asyncio.TimeoutError):
        return None


def _address(url: str) -> str:
    """Host and port."""
    return urlsplit(url if "://" in url else f"//{url}").netloc.rpartition("@")[2]
