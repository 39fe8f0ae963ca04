"""One pipeline and the sequences that run in it: in, out, and one step at a time.

It knows nothing of sockets or of other pipelines. Not thread-safe.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from trident.engines.base import EngineRequest
from trident.engines.openvino_config import generation_config, input_tensor
from trident.engines.openvino_limits import max_blocks_of, num_kv_blocks
from trident.engines.openvino_messages import News, Submit
from trident.engines.openvino_running import Running
from trident.errors import EngineError, TridentError
from trident.manifest import Manifest


@dataclass(frozen=True)
class BatchStats:
    """One batch as of its last step."""

    num_queued: int  # in the pipeline, not scheduled yet
    num_running: int
    num_prefilling: int
    num_paused: int
    num_used_blocks: float


class Batch:
    """A pipeline that is stepped by hand."""

    def __init__(self, pipeline: Any, manifest: Manifest) -> None:
        """`pipeline`: of `openvino_config.load_pipeline` with this manifest."""
        self._pipeline = pipeline
        self._manifest = manifest
        self._num_draft_tokens = manifest.speculation.num_draft_tokens if manifest.speculation else 0
        self._running: dict[int, Running] = {}
        self._num_settling_steps = 0  # still to be run, also when nobody is left to gain by them
        self._num_ended = 0  # in the last step
        self.max_kv_blocks = num_kv_blocks(manifest.limits.kv_cache_tokens)
        self.num_accepted_draft_tokens = 0  # since the start

    @property
    def is_busy(self) -> bool:
        """Whether there is something to step."""
        return bool(self._running) or self._num_settling_steps > 0

    def has_room(self, request: EngineRequest) -> bool:
        """Whether a request may join now.

        OpenVINO heeds max_num_seqs only without chunked prefill. And it preempts when the KV cache is full; the
        sequences of a speculating pipeline come to wrong tokens then (openvino-genai 2026.4.1), so there a request
        joins only when all of it and of the others can be held.
        """
        if not self._running:
            return True
        live = [*(running.request for running in self._running.values()), request]
        if sum(one.beam_width for one in live) > self._manifest.limits.max_num_seqs:
            return False
        if not self._num_draft_tokens:
            return True
        return sum(max_blocks_of(one, self._num_draft_tokens) for one in live) <= self.max_kv_blocks

    def add(self, item: Submit) -> list[News]:
        """Let a sequence join; news when it is refused."""
        key, request = item
        try:
            config = generation_config(request, self._manifest.speculation)
            handle = self._pipeline.add_request(key, input_tensor(request), config)
        except TridentError as exc:
            return [News(key, [], exc)]
        except RuntimeError as exc:
            log(exc)
            return [News(key, [], EngineError("the engine refused the request; see the server's log"))]
        self._running[key] = Running(request, handle)
        return []

    def cancel(self, key: int) -> bool:
        """End a sequence early; False when it is not here."""
        running = self._running.pop(key, None)
        if running is None:
            return False
        running.handle.cancel()
        self._num_settling_steps = 2  # blocks are given back at the end of the first, and the next counts without them
        return True

    def step(self) -> list[News]:
        """Run one step.

        Raises:
            RuntimeError: it failed. The process must end: what was in the batch can never be stepped again ("already
                in scheduling phase"), and threads that still sampled may have damaged memory (openvino-genai 2026.4.1).
        """
        self._num_settling_steps = max(0, self._num_settling_steps - 1)
        self._pipeline.step()
        all_news = [running.read(key) for key, running in self._running.items()]
        news = [one for one in all_news if one.token_ids or one.end is not None]
        for one in news:
            if self._num_draft_tokens and one.token_ids:
                self.num_accepted_draft_tokens += len(one.token_ids) - 1  # one of a step is always the model's own
            if one.end is not None:
                del self._running[one.key]
        self._num_ended = sum(one.end is not None for one in news)
        if self._num_ended:
            self._num_settling_steps = max(1, self._num_settling_steps)
        return news

    def stats(self) -> BatchStats:
        """As of the last step.

        OpenVINO counts KV blocks in the middle of a step, before it gives back those of sequences that end in it; what
        is only kept for reuse it does not count (openvino-genai 2026.4.1). So after the last end one more step is run,
        with nothing in it, and what it counts is what is held.

        Exact but for two cases in which OpenVINO does not say who was scheduled: a beam search counts as prefilling
        until it ends, and a preempted sequence that is computed again may be taken for one that waits to begin.
        """
        metrics = self._pipeline.get_metrics()
        live = self._running.values()
        num_tokenless = sum(not running.num_tokens for running in live)
        num_decoding = sum(running.has_news for running in live)
        num_prefilling = min(max(0, metrics.scheduled_requests - num_decoding - self._num_ended), num_tokenless)
        return BatchStats(
            num_queued=num_tokenless - num_prefilling,
            num_running=num_decoding + num_prefilling,
            num_prefilling=num_prefilling,
            num_paused=len(live) - num_tokenless - num_decoding,
            num_used_blocks=metrics.cache_usage / 100 * self.max_kv_blocks,
        )


def log(exc: Exception) -> None:
    """OpenVINO's words, which name files, into the server's log and not to a client."""
    print(f"openvino engine: {exc}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is that log
