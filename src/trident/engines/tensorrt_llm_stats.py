"""TensorRT-LLM's statistics of iterations, as `get_stats_async` gives them, to `EngineStats`.

    iter                     counts from 0
    inflightBatchingStats    numScheduledRequests, numContextRequests, numPausedRequests
    kvCacheStats             maxNumBlocks, usedNumBlocks, tokensPerBlock, reusedBlocks (since the start)
    specDecodingStats        numDraftTokens, numAcceptedTokens (of the iteration)

Source: cpp/include/tensorrt_llm/executor/types.h and jsonSerialization.cpp of TensorRT-LLM 1.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trident.engines.base import EngineStats


class Tally:
    """What the iterations have said so far. Filled by one thread, read by any."""

    def __init__(self) -> None:
        self._last: Mapping[str, Any] = {}
        self._num_draft: int | None = None
        self._num_accepted: int | None = None

    def add(self, iteration: Mapping[str, Any]) -> None:
        """One iteration's statistics."""
        speculated = iteration.get("specDecodingStats")
        if speculated:
            self._num_draft = (self._num_draft or 0) + speculated.get("numDraftTokens", 0)
            self._num_accepted = (self._num_accepted or 0) + speculated.get("numAcceptedTokens", 0)
        self._last = iteration

    def stats(self, num_live: int) -> EngineStats:
        """As of the last iteration, corrected by what is known here: `num_live` sequences have not ended.

        TensorRT-LLM says nothing between two iterations, and nothing when it has become idle.
        """
        last = self._last
        batch = last.get("inflightBatchingStats") or {}
        cache = last.get("kvCacheStats") or {}
        num_running = min(batch.get("numScheduledRequests", 0), num_live)
        num_paused = min(batch.get("numPausedRequests", 0), num_live - num_running)
        max_blocks = cache.get("maxNumBlocks")
        used = cache.get("usedNumBlocks", 0) if num_live else 0
        return EngineStats(
            num_queued=num_live - num_running - num_paused,
            num_running=num_running,
            kv_cache_fraction=used / max_blocks if max_blocks else 0.0,
            num_steps=last["iter"] + 1 if "iter" in last else 0,
            num_prefilling=min(batch.get("numContextRequests", 0), num_running),
            num_paused=num_paused,
            max_kv_blocks=max_blocks,
            kv_block_tokens=cache.get("tokensPerBlock"),
            num_reused_blocks=cache.get("reusedBlocks"),
            num_draft_tokens=self._num_draft,
            num_accepted_draft_tokens=self._num_accepted,
        )
