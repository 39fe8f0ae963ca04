"""Reads the engines' own queues in the background, for the routes that choose by load.

A second between two readings. Where an engine tells nothing, or too late, the gateway's own counts have to do.
"""

from __future__ import annotations

import asyncio

import httpx

from trident.gateway.config import Deployment, GatewayConfig
from trident.gateway.deployment_state import EngineLoad
from trident.gateway.patience import cancel_all
from trident.gateway.router import Router
from trident_client.metrics import Metrics, metrics_url_of, page_url, parse_metrics
from trident_client.transport import is_loopback

FAMILY = "nv_trt_llm_request_metrics"
INFO_FAMILY = "trident_engine_info"
_INFO_LABELS = {  # of the families that say what runs there; of what was replaced the value is 0
    INFO_FAMILY: ("model", "engine", "engine_version"),
    "trident_text_info": ("manifest_sha256", "templates_sha256", "policy_sha256"),
}
_PERIOD_S = 1.0
_TIMEOUT_S = 1.0
_POLICIES = frozenset({"least_loaded", "prefix_affinity"})
_MAX_PAGE_BYTES = 4 << 20


class LoadWatcher:
    """Of all deployments that a route chooses among by their load; `start` and `close` inside the event loop."""

    def __init__(self, router: Router, config: GatewayConfig, period_s: float = _PERIOD_S) -> None:
        self._router = router
        self._period_s = period_s
        self._urls: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: dict[bool, httpx.AsyncClient] = {}  # by whether the address is this machine's
        self._is_started = False
        self.update(config)

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten."""
        self._urls = watched(config)
        if self._is_started:
            self._restart()

    def start(self) -> None:
        """Begin to read."""
        self._is_started = True
        self._restart()

    async def close(self) -> None:
        """Stop reading."""
        self._is_started = False
        tasks, self._tasks = self._tasks, []
        await cancel_all(*tasks)
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _restart(self) -> None:
        for task in self._tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch(name, url)) for name, url in self._urls.items()]

    async def _watch(self, name: str, url: str) -> None:
        while True:
            try:
                await self._read(name, url)
            except (httpx.HTTPError, httpx.InvalidURL):  # its last reading grows stale
                self._identify(name, "")
            await asyncio.sleep(self._period_s)

    async def _read(self, name: str, url: str) -> None:
        answer = await self._client(url).get(url)
        state = self._router.states.get(name)
        if answer.status_code != httpx.codes.OK or state is None or len(answer.content) > _MAX_PAGE_BYTES:
            return
        lines = [line for line in answer.text.splitlines() if line.startswith((FAMILY, *_INFO_LABELS))]
        metrics = parse_metrics("\n".join(lines))
        self._identify(name, engine_in(metrics, state.deployment))
        state.served = served_in(metrics) or state.served
        load = load_in(metrics, state.deployment.engine_model)
        if load is not None:
            state.read(load)

    def _identify(self, name: str, engine: str) -> None:
        state = self._router.states.get(name)
        if state is not None:
            state.identify(engine)

    def _client(self, url: str) -> httpx.AsyncClient:
        is_local = is_loopback(url)
        if is_local not in self._clients:
            self._clients[is_local] = httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=not is_local)
        return self._clients[is_local]


def watched(config: GatewayConfig) -> dict[str, str]:
    """Where those deployments have their metrics that are chosen by load, whose answers are kept, or whose version is
    not in the file.
    """
    names = {
        name
        for route in config.models.values()
        if config.cache.enabled or (route.policy in _POLICIES and len(route.deployments) > 1)
        for name in route.deployments
    }
    names |= {name for name, deployment in config.deployments.items() if not deployment.version}
    deployments = {name: config.deployments[name] for name in sorted(names)}
    return {name: page_url(each.metrics_url or metrics_url_of(each.url)) for name, each in deployments.items()}


def engine_in(metrics: Metrics, deployment: Deployment) -> str:
    """What a page of metrics says of which engine it is; of a server that tells none, the version in the file."""
    found = [
        "@".join(sample.labels.get(name, "") for name in _INFO_LABELS[sample.name])
        for sample in metrics.samples
        if sample.name in _INFO_LABELS and sample.value
    ]
    return ",".join([*sorted(found), *([deployment.version] if deployment.version else [])])


def served_in(metrics: Metrics) -> str:
    """The engines that a page of metrics says are served, as "name@version"; empty: it does not."""
    labels = [sample.labels for sample in metrics.samples if sample.name == INFO_FAMILY and sample.value]
    return ",".join(sorted(f"{each.get('engine', '')}@{each.get('engine_version', '')}" for each in labels))


def load_in(metrics: Metrics, engine_model: str | None) -> EngineLoad | None:
    """What a page of metrics says of the engine's queue, of one model or of all; None where it does not."""
    labels = {} if engine_model is None else {"model": engine_model}
    counts = {
        kind: metrics.total(FAMILY, request_type=kind, **labels) for kind in ("active", "scheduled", "waiting", "max")
    }
    if counts["active"] is None and counts["scheduled"] is None:
        return None
    admitted = (counts["scheduled"] or 0.0) + (counts["waiting"] or 0.0)
    return EngineLoad(max(counts["active"] or 0.0, admitted), max(1.0, counts["max"] or 1.0))
