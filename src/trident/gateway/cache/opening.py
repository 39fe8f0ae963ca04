"""The caches that a configuration asks for, put together."""

from __future__ import annotations

from collections.abc import Callable

from trident.gateway.cache.answers import AnswerCache
from trident.gateway.cache.embedder import RouteEmbedder
from trident.gateway.cache.semantic import SemanticCache
from trident.gateway.cache.store import Store
from trident.gateway.cache.vectors import Vectors
from trident.gateway.cache.verification import Verification
from trident.gateway.config import GatewayConfig, SemanticSettings
from trident.gateway.database import Database
from trident.gateway.router import Router
from trident.gateway.upstreams import Upstreams


def open_cache(
    config: GatewayConfig, router: Router, upstreams: Upstreams, database: Database, verified: Callable[[bool], None]
) -> AnswerCache | None:
    """None: the cache is off. Nothing is connected before `start`."""
    if not config.cache.enabled:
        return None
    settings = config.cache.semantic
    if not settings.enabled:
        return AnswerCache(config.cache, router.engine_at)
    embed = RouteEmbedder(settings.model, router, upstreams)
    answers = Store(config.cache.max_bytes)

    def threshold_of(model: str) -> float | None:
        return router.route_of(model)[1].semantic_threshold

    return AnswerCache(
        config.cache,
        router.engine_at,
        answers,
        SemanticCache(settings, open_vectors(settings, database), embed, answers, threshold_of),
        Verification(
            settings.verify_fraction, embed, router, upstreams,
            timeout_s=config.server.request_timeout_s, verified=verified,
        ),
    )  # fmt: skip


def open_vectors(settings: SemanticSettings, database: Database) -> Vectors:
    """Those that the configuration names; their libraries are loaded only here."""
    if settings.store == "postgres":
        from trident.gateway.cache.pgvector_store import PgVectors  # noqa: PLC0415 - only where it is asked for

        return PgVectors(database, settings.max_entries)
    from trident.gateway.cache.memory_vectors import MemoryVectors  # noqa: PLC0415 - likewise

    return MemoryVectors(settings.max_entries)
