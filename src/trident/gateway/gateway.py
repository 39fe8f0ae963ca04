"""The gateway's parts, put together once and closed together: what `gateway_of(request)` gives every endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

from trident.gateway.asked import Asked, Observer
from trident.gateway.authentication import Authenticator
from trident.gateway.cache.opening import open_cache
from trident.gateway.config import GatewayConfig
from trident.gateway.database import Database, database_url
from trident.gateway.embedding_exchange import EmbeddingExchange
from trident.gateway.exchange import Exchange
from trident.gateway.ledger.ledger import Ledger
from trident.gateway.limiter import open_limiter
from trident.gateway.load_watcher import LoadWatcher
from trident.gateway.logs import RequestLog
from trident.gateway.metrics import Metrics
from trident.gateway.openai_api.stored_objects import StoredObjects
from trident.gateway.overview.traffic import Traffic
from trident.gateway.retrieval.retrieval import Retrieval
from trident.gateway.route_statistics import RouteStatistics
from trident.gateway.router import Router
from trident.gateway.shadow import Shadows
from trident.gateway.tenant_salt import TenantSalts
from trident.gateway.text_models import TextModels
from trident.gateway.tracing import Tracing
from trident.gateway.upstreams import Upstreams


class Gateway:
    """Of one worker process, for use inside one event loop."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.database = Database(database_url(config.server))
        self.authenticator = Authenticator(config, self.database)
        self.metrics = Metrics()
        self.traffic = Traffic()
        self.limiter = open_limiter(config.server, self.database, self.metrics.counted_alone)
        self.router = Router(config)
        self.upstreams = Upstreams(config.deployments, TenantSalts(config.server))
        self.text_models = TextModels(self.router, self.upstreams)
        self.stored = StoredObjects(config, self.database)  # `create_app` starts and closes it
        self.ledger = Ledger(
            config.ledger,
            config.server.data / "spool",
            self.database,
            config.deployments,
            self.metrics.lost,
            self.router.served_at,
        )
        self.statistics = RouteStatistics(config.deployments)
        self.shadows = Shadows(self.router, self.upstreams, self.ledger.compared, config.server.request_timeout_s)
        self.cache = open_cache(config, self.router, self.upstreams, self.database, self.metrics.verified)
        self.retrieval = Retrieval(config, self.router, self.upstreams, self.text_models, self.database)
        self.load_watcher = LoadWatcher(self.router, config)
        self.observers: list[Observer] = [
            self.statistics,
            self.shadows,
            self.metrics,
            self.traffic,
            self.ledger,
            RequestLog(),
            Tracing(),
            *(() if self.cache is None else self.cache.observers),
        ]
        self._background: set[asyncio.Task[None]] = set()  # ends of exchanges
        self.start_failure: Exception | None = None  # for who started it: ASGI would pass on its text alone
        self.is_draining = False  # it serves, and asks to be sent no more
        self.has_stopped_accepting = asyncio.Event()  # and then it takes no more connections

    async def start(self) -> None:
        """Open what has to be open before the first request."""
        await self.database.start()
        await self.authenticator.start()
        await self.limiter.start()
        await self.ledger.start()
        if self.cache is not None:
            await self.cache.start()
        await self.retrieval.start()
        self.load_watcher.start()

    def exchange(self, asked: Asked) -> Exchange:
        """One generation, to be used as a context manager."""
        return Exchange(
            asked,
            self.router,
            self.limiter,
            self.upstreams,
            self.observers,
            timeout_s=self.config.server.request_timeout_s,
            background=self._background,
            cache=self.cache,
        )

    def embedding_exchange(self, asked: Asked, texts: Sequence[str]) -> EmbeddingExchange:
        """The vectors of texts, likewise."""
        return EmbeddingExchange(
            asked,
            texts,
            self.router,
            self.limiter,
            self.upstreams,
            self.observers,
            timeout_s=self.config.server.request_timeout_s,
            background=self._background,
        )

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten: tenants, deployments, models and rules follow, for requests from now on.

        Raises:
            SettingsError: what waits for the next start does not go with it; nothing has changed.
        """
        self.retrieval.check(config)
        self.upstreams.update(config.deployments, config.server.request_timeout_s)
        self.router.update(config)
        self.statistics.update(config.deployments)
        self.ledger.update(config.deployments)
        self.load_watcher.update(config)
        self.authenticator.update(config)
        self.config = config

    async def close(self) -> None:
        """Close every connection; what still runs fails."""
        if self._background:
            await asyncio.wait(self._background)
        await self.shadows.close()
        if self.cache is not None:
            await self.cache.close()
        await self.retrieval.close()
        await self.load_watcher.close()
        self.router.close()
        await self.upstreams.close()
        await self.ledger.close()
        await self.limiter.close()
        await self.database.close()


def new_request_id() -> str:
    """A UUID, which nobody can guess: whoever knows it can cancel the request."""
    return str(uuid4())
