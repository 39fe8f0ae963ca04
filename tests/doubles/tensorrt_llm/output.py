"""RequestOutput and what is in it, changed in place by every step as the real one is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tensorrt_llm.batch import Live, Step
from tensorrt_llm.executor import RequestError

OFFSET = 0.25  # of the log-probability of each next most probable id


@dataclass
class Logprob:
    """Of one id at one place."""

    logprob: float
    rank: int | None = None


@dataclass
class CompletionOutput:
    """One sequence of a request."""

    index: int
    token_ids: list[int] = field(default_factory=list)
    cumulative_logprob: float | None = None
    logprobs: list[Any] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | None = None
    request_perf_metrics: Any = None


def log_prob(token_id: int) -> float:
    """The double's own, of any id."""
    return -((token_id % 10) + 1) / 10


class RequestOutput:
    """Awaited in the event loop in which its request was submitted."""

    def __init__(self, llm: Any, request_id: int, params: Any, streaming: bool) -> None:
        self.request_id = request_id
        self.finished = False
        self.outputs = [CompletionOutput(index) for index in range(params.n)]
        self._llm = llm
        self._params = params
        self._streaming = streaming
        self._aborted = False
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def abort(self) -> None:
        """End it early."""
        self._llm.abort_request(self.request_id)
        self._aborted = True

    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def put(self, response: Step | Exception) -> None:
        """One response, in the loop's thread."""
        self._queue.put_nowait(response)

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        while True:
            response = await self._queue.get()
            self._handle(response)
            if self._streaming or self.finished:
                return self

    def _handle(self, response: Step | Exception) -> None:
        if isinstance(response, Exception):
            raise response
        live, first = response.live, self.outputs[0]
        if response.finish_reason == "error":
            raise RequestError(f"Encountered an error for request {self.request_id} in /src/executor.cpp:99")
        self.finished = response.finish_reason is not None
        if self._params.use_beam_search and response.finish_reason == "length":
            for output in self.outputs:
                output.token_ids = [token_id + output.index for token_id in live.ids]
                output.finish_reason = "length"
                output.cumulative_logprob = self._cumulative(output.token_ids)
            return
        first.token_ids += response.new_ids
        first.logprobs += [self._logprob_of(token_id) for token_id in response.new_ids] if self._wants_logprobs else []
        first.finish_reason = response.finish_reason
        if self.finished and self._params.return_perf_metrics:
            first.request_perf_metrics = _metrics(live)
        if self._llm.is_pytorch:
            self.cached_tokens = live.num_reused * 32

    @property
    def _wants_logprobs(self) -> bool:
        return bool(self._params.logprobs or self._params._return_log_probs)

    def _logprob_of(self, token_id: int) -> Any:
        if not self._params.logprobs:
            return log_prob(token_id)
        chosen = Logprob(log_prob(token_id), 1)
        others = range(1, self._params.logprobs)
        return {token_id: chosen} | {token_id + n: Logprob(chosen.logprob - n * OFFSET, n + 1) for n in others}

    def _cumulative(self, token_ids: list[int]) -> float | None:
        return sum(log_prob(token_id) for token_id in token_ids) if self._params._return_log_probs else None


def _metrics(live: Live) -> Any:
    return SimpleNamespace(kv_cache_metrics=SimpleNamespace(num_reused_blocks=live.num_reused))
