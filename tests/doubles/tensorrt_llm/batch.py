"""The double's executor: a batch in flight, KV blocks with reuse, one iteration at a time. For one thread.

Ids are arithmetic: they follow from the prompt, the sampling and the place, and never from the neighbours.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

REFUSED_ID = 3001  # in a prompt: the request fails
DEADLY_ID = 3002  # in a prompt: the executor fails
FIRST_ID, NUM_IDS = 300, 2000  # of answers
BLOCK_TOKENS = 32


@dataclass(eq=False)
class Live:
    """A request and where it stands."""

    request_id: int
    prompt: list[int]
    params: Any
    salt: str | None
    loop_result: Any
    num_computed: int = 0
    ids: list[int] = field(default_factory=list)
    num_blocks: int = 0
    num_reused: int = 0

    @property
    def is_prefilling(self) -> bool:
        """Whether its prompt is not computed yet."""
        return self.num_computed < len(self.prompt)


@dataclass
class Step:
    """What one iteration brought one request."""

    live: Live
    new_ids: list[int]
    finish_reason: str | None = None


class DeadlyError(Exception):
    """The executor cannot go on."""


class Batch:
    """Requests in the batch and before it."""

    def __init__(self, args: Any, is_pytorch: bool) -> None:
        self.is_pytorch = is_pytorch
        self._args = args
        self._max_blocks = (args.kv_cache_config.max_tokens or 1 << 20) // BLOCK_TOKENS
        self._reuses = args.kv_cache_config.enable_block_reuse
        self._cached: set[tuple[object, ...]] = set()
        self._queue: deque[Live] = deque()
        self._running: list[Live] = []
        self._aborted: set[int] = set()
        self._shared_draw = itertools.count(42)
        self._iter = -1
        self._num_reused = 0
        self._num_done = 0

    @property
    def is_busy(self) -> bool:
        """Whether there is something to iterate over."""
        return bool(self._queue or self._running)

    @property
    def num_used_blocks(self) -> int:
        """Held by the batch."""
        return sum(live.num_blocks for live in self._running)

    def add(self, live: Live) -> None:
        """Queue a request."""
        self._queue.append(live)

    def abort(self, request_id: int) -> None:
        """Out in the next iteration."""
        self._aborted.add(request_id)

    def iterate(self) -> tuple[list[Step], dict[str, Any]]:
        """One iteration: what it brought, and its statistics."""
        self._iter += 1
        steps = self._drop_aborted()
        self._admit()
        budget = self._args.max_num_tokens - sum(not live.is_prefilling for live in self._running)
        num_context = 0
        for live in list(self._running):
            if live.is_prefilling:
                num_context += 1
                chunk = min(budget, len(live.prompt) - live.num_computed)
                budget -= chunk
                live.num_computed += chunk
                if live.is_prefilling:
                    continue
                self._keep(live)
            steps.append(self._decode(live))
        stats = self._stats(num_context)
        for step in steps:
            if step.finish_reason is not None and step.live in self._running:
                self._running.remove(step.live)
                self._num_done += 1
        return steps, stats

    def _drop_aborted(self) -> list[Step]:
        gone = [live for live in [*self._queue, *self._running] if live.request_id in self._aborted]
        self._aborted.clear()
        for live in gone:
            (self._queue if live in self._queue else self._running).remove(live)
        return [Step(live, [], "cancelled") for live in gone]

    def _admit(self) -> None:
        while self._queue and len(self._running) < self._args.max_batch_size:
            live = self._queue[0]
            num_blocks = math.ceil((len(live.prompt) + live.params.max_tokens) / BLOCK_TOKENS)
            if self.num_used_blocks + num_blocks > self._max_blocks:
                return
            self._queue.popleft()
            if DEADLY_ID in live.prompt:
                raise DeadlyError("CUDA error: an illegal memory access was encountered (/src/kernel.cu:7)")
            live.num_blocks = num_blocks
            prefixes = self._prefixes(live)[: (len(live.prompt) - 1) // BLOCK_TOKENS]
            live.num_reused = sum(1 for _ in itertools.takewhile(lambda one: one in self._cached, prefixes))
            live.num_computed = live.num_reused * BLOCK_TOKENS
            self._num_reused += live.num_reused
            self._running.append(live)

    def _prefixes(self, live: Live) -> list[tuple[object, ...]]:
        ends = range(BLOCK_TOKENS, len(live.prompt) + 1, BLOCK_TOKENS)
        return [(live.salt, *live.prompt[:end]) for end in ends] if self._reuses else []

    def _keep(self, live: Live) -> None:
        self._cached.update(self._prefixes(live))

    def _decode(self, live: Live) -> Step:
        if REFUSED_ID in live.prompt:
            return Step(live, [], "error")
        params = live.params
        if params.use_beam_search:
            live.ids = [self._id(live, place) for place in range(params.max_tokens)]
            return Step(live, [], "length")
        token_id = self._id(live, len(live.ids))
        num_so_far = len(live.ids) + (len(live.prompt) if self.is_pytorch else 0)
        if token_id == params.end_id and num_so_far < (params.min_tokens or 0):
            token_id = FIRST_ID + (token_id + 1 - FIRST_ID) % NUM_IDS  # the end id's logit is minus infinity
        if token_id == params.end_id:
            new_ids = [token_id] if self.is_pytorch else []
            live.ids += new_ids
            return Step(live, new_ids, "stop")
        live.ids.append(token_id)
        if token_id in (params.stop_token_ids or []):
            return Step(live, [token_id] if params.include_stop_str_in_output else [], "stop")
        return Step(live, [token_id], "length" if len(live.ids) == params.max_tokens else None)

    def _id(self, live: Live, place: int) -> int:
        params = live.params
        start = sum(live.prompt) * 31
        if not params.is_greedy and params.temperature is not None:
            start += next(self._shared_draw) if self.is_pytorch else (params.seed or 0)
        token_id = FIRST_ID + (start + place * 7) % NUM_IDS
        if params.embedding_bias is not None:
            best = int(params.embedding_bias.array.argmax())
            token_id = best if params.embedding_bias.array[best] > 0 else token_id
        if not self.is_pytorch:
            for word in params.bad_words():
                if [*live.ids, token_id][-len(word) :] == word:
                    token_id += 1
        return token_id

    def _stats(self, num_context: int) -> dict[str, Any]:
        used = self.num_used_blocks
        return {
            "iter": self._iter,
            "iterLatencyMS": 1.0,
            "numActiveRequests": len(self._running) + len(self._queue),
            "numQueuedRequests": len(self._queue),
            "numCompletedRequests": self._num_done,
            "maxNumActiveRequests": self._args.max_batch_size,
            "kvCacheStats": {
                "maxNumBlocks": self._max_blocks,
                "freeNumBlocks": self._max_blocks - used,
                "usedNumBlocks": used,
                "tokensPerBlock": BLOCK_TOKENS,
                "reusedBlocks": self._num_reused,
            },
            "inflightBatchingStats": {
                "numScheduledRequests": len(self._running),
                "numContextRequests": num_context,
                "numGenRequests": len(self._running) - num_context,
                "numPausedRequests": 0,
            },
        }
