"""Gathers the overview: what is in memory at once, what has to be asked of others at most every so often."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping

from trident import __version__
from trident.gateway.gateway import Gateway
from trident.gateway.overview.cache import cache_figures
from trident.gateway.overview.engines import Answers, deployment_figures, read_engines
from trident.gateway.overview.figures import (
    CacheFigures,
    LedgerFigures,
    LimitFigures,
    Overview,
    WorkerFigures,
)
from trident.gateway.overview.kept import Kept
from trident.gateway.overview.keys import KnownKeys, keys_figures, read_keys
from trident.gateway.overview.limits import limit_figures, limited
from trident.gateway.overview.routes import route_figures

_ENGINES_S = 1.0
_CACHE_S = 5.0  # a vector store that is shared counts its rows
_LIMITS_S = 2.0
_KEYS_S = 5.0
_SILENT: Answers = (None, None)


class OverviewReader:
    """Of one worker process. `reason_against`: why the gateway is not ready, as `/health/ready` says it."""

    def __init__(
        self, gateway: Gateway, reason_against: Callable[[], Awaitable[str]], wall: Callable[[], float] = time.time
    ) -> None:
        self._gateway = gateway
        self._reason_against = reason_against
        self._wall = wall
        self._engines = Kept(lambda: read_engines(gateway.router.states, gateway.upstreams), _ENGINES_S)
        self._semantic = Kept(self._read_semantic, _CACHE_S)
        self._keys = Kept(self._read_keys, _KEYS_S)
        self._limits = Kept(self._read_limits, _LIMITS_S)

    async def read(self) -> Overview:
        """Now."""
        gateway = self._gateway
        engines = await self._engines.get() or {}
        keys = await self._keys.get()
        reason = await self._reason_against()
        return Overview(
            at=self._wall(),
            worker=WorkerFigures(
                pid=os.getpid(),
                workers=gateway.config.server.workers,
                started_at=gateway.traffic.started_at,
                version=__version__,
            ),
            ready=not reason,
            reason=reason,
            traffic=gateway.traffic.figures(),
            deployments=[
                deployment_figures(state, engines.get(name, _SILENT)) for name, state in gateway.router.states.items()
            ],
            models=route_figures(gateway.config, gateway.statistics),
            cache=await self._cache(),
            keys=None if keys is None else keys_figures(keys, self._wall()),
            limits=await self._limits.get(),
            ledger=LedgerFigures(lost=gateway.ledger.num_lost),
        )

    async def _cache(self) -> CacheFigures | None:
        cache = self._gateway.cache
        if cache is None:
            return None
        semantic = None if cache.semantic is None else await self._semantic.get()
        return cache_figures(cache, self._gateway.config.cache, semantic)

    async def _read_semantic(self) -> Mapping[str, int | None]:
        cache = self._gateway.cache
        return {} if cache is None or cache.semantic is None else await cache.semantic.figures()

    async def _read_keys(self) -> KnownKeys:
        return await self._gateway.database.run(read_keys)

    async def _read_limits(self) -> list[LimitFigures]:
        gateway, now = self._gateway, self._wall()
        known = await self._keys.get()
        active = [] if known is None else [key for key in known.keys if key.state(now) == "active"]
        return await limit_figures(gateway.limiter, limited(gateway.config, gateway.authenticator, active))
