"""The cache's figures for an operator."""

from __future__ import annotations

from collections.abc import Mapping

from trident.gateway.cache.answers import AnswerCache
from trident.gateway.cache.verification import Verification
from trident.gateway.config import CacheSettings
from trident.gateway.intervals import share
from trident.gateway.overview.figures import CacheFigures, Rate, SemanticFigures


def cache_figures(
    cache: AnswerCache, settings: CacheSettings, semantic: Mapping[str, int | None] | None
) -> CacheFigures:
    """`semantic`: of `SemanticCache.figures`; None: it is off, or does not answer."""
    return CacheFigures(
        answers=len(cache.store),
        bytes=cache.store.num_bytes,
        max_bytes=settings.max_bytes,
        exact=cache.num_hits["exact"],
        shared=cache.num_hits["shared"],
        semantic=cache.num_hits["semantic"],
        misses=cache.num_misses,
        semantic_cache=None if semantic is None else _semantic(semantic, cache.verification),
    )


def _semantic(figures: Mapping[str, int | None], verification: Verification | None) -> SemanticFigures:
    num_verified, num_false = (0, 0) if verification is None else (verification.num_verified, verification.num_false)
    rate = share(num_false, num_verified)
    return SemanticFigures(
        vectors=figures["vectors"],
        hits=figures["hits"] or 0,
        refused=figures["refused"] or 0,
        failures=figures["failures"] or 0,
        verified=num_verified,
        false=num_false,
        false_rate=None if rate is None else Rate(value=rate.value, low=rate.low, high=rate.high),
    )
