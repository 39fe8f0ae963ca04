"""A load on a server that runs: open loop (requests come when they are due) or closed (as many as there are streams).

The load stays on until every request that began in the measured window has ended, so none of them is timed on a server
that grows empty, and none is left out because it was slow. Knows no figures: it hands back when what came.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field

from trident.bench.arrivals import arrivals_s
from trident.bench.cpu_time import machine_cpu_s
from trident.bench.lengths import Lengths
from trident.bench.workload import prompts
from trident.errors import InvalidRequestError, TridentError
from trident_client import AsyncClient, Sampling

_PAUSE_S = 0.1  # after a request that failed, so that a closed loop does not spin on a server that refuses
_TICK_S = 0.01  # between two looks at how late the event loop is


@dataclass(frozen=True)
class Requests:
    """What is asked. Every prompt is different from its first word on, or after one of a few shared prefixes."""

    prompt: Lengths  # of the part that is not shared, in words: about as many tokens
    answer: Lengths  # max_tokens
    prefix_words: int = 0
    num_prefixes: int = 1
    ignores_eos: bool = True  # every answer has exactly max_tokens

    def texts(self, seed: int) -> Iterator[tuple[str, int]]:
        """Prompts and their max_tokens, without end; the same for a seed."""
        rng = random.Random(seed)  # noqa: S311 - a workload, not a secret
        prefixes = prompts(self.num_prefixes, self.prefix_words, seed=0) if self.prefix_words else []
        while True:
            (text,) = prompts(1, self.prompt.draw(rng), seed=rng.randrange(1 << 62))
            yield " ".join([*rng.choices(prefixes, k=1), text] if prefixes else [text]), self.answer.draw(rng)


@dataclass(frozen=True)
class Pressure:
    """How requests come: exactly one of `concurrency` and `rate_per_s`."""

    concurrency: int | None = None  # closed loop: streams at once
    rate_per_s: float | None = None  # open loop
    burstiness: float = 1.0  # of an open loop, see `arrivals_s`

    def __post_init__(self) -> None:
        if (self.concurrency is None) == (self.rate_per_s is None):
            raise InvalidRequestError("give a concurrency (closed loop) or a rate (open loop), and not both")
        if self.concurrency is not None and self.concurrency < 1:
            raise InvalidRequestError(f"concurrency {self.concurrency} must be at least 1")

    def __str__(self) -> str:
        if self.rate_per_s is None:
            return f"{self.concurrency} stream{'s' * (self.concurrency != 1)}"
        name = {1.0: "", math.inf: " even"}.get(self.burstiness, f" burstiness {self.burstiness:g}")
        return f"{self.rate_per_s:g}/s{name}"


@dataclass(frozen=True)
class Window:
    """Seconds."""

    warmup_s: float  # of load before anything counts
    measure_s: float
    timeout_s: float = 120.0  # how long what began in the window may go on after it

    @property
    def end_s(self) -> float:
        """After the start of the load."""
        return self.warmup_s + self.measure_s

    def holds(self, moment_s: float) -> bool:
        """Whether a moment, in seconds after the start of the load, is measured."""
        return self.warmup_s <= moment_s < self.end_s


@dataclass(slots=True)
class Sample:
    """One request; seconds after the start of the load."""

    due_s: float  # in a closed loop: when a stream was free
    sent_s: float = 0.0
    arrivals_s: list[float] = field(default_factory=list)  # of its responses with text, or with the finish reason
    num_input_tokens: int | None = None  # as the server counts them
    num_output_tokens: int | None = None
    error: str = ""
    is_over: bool = False


@dataclass(frozen=True)
class LoadRun:
    """What came of it."""

    window: Window
    samples: list[Sample]  # in the order in which they were due; those around the window too
    client_cpu_s: float  # of this process in the window
    machine_cpu_s: float  # of all processes of this machine in the window
    loop_lags_s: list[float]  # how late the event loop was, looked at every 10 ms in the window


async def run_load(client: AsyncClient, requests: Requests, pressure: Pressure, window: Window, seed: int) -> LoadRun:
    """Put the load on and measure; what still runs in the end is cancelled on the server."""
    return await _Load(client, requests, window, seed).run(pressure, random.Random(seed))  # noqa: S311 - no secret


class _Load:
    def __init__(self, client: AsyncClient, requests: Requests, window: Window, seed: int) -> None:
        self._client = client
        self._sampling = Sampling(end_id=-1 if requests.ignores_eos else None)
        self._texts = requests.texts(seed)
        self._window = window
        self._start_s = time.perf_counter()
        self._samples: list[Sample] = []
        self._num_awaited = 0  # began in the window and have not ended
        self._all_ended = asyncio.Event()  # of those
        self._all_ended.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._fault: BaseException | None = None  # of a task, and not of a request

    async def run(self, pressure: Pressure, rng: random.Random) -> LoadRun:
        lags_s: list[float] = []
        if pressure.rate_per_s is not None:
            self._begin(self._arrive(arrivals_s(pressure.rate_per_s, pressure.burstiness, rng)))
        for _ in range(pressure.concurrency or 0):
            self._begin(self._repeat())
        self._begin(self._watch_loop(lags_s))
        try:
            await asyncio.sleep(self._window.warmup_s)
            before = time.process_time(), machine_cpu_s()
            await asyncio.sleep(self._window.end_s - self._now_s())
            after = time.process_time(), machine_cpu_s()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_ended.wait(), self._window.timeout_s)
        finally:
            await self._end()
        return LoadRun(self._window, self._samples, after[0] - before[0], after[1] - before[1], lags_s)

    def _now_s(self) -> float:
        return time.perf_counter() - self._start_s

    def _begin(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def _end(self) -> None:
        # Before Python 3.12 a cancel can get lost in `asyncio.wait_for`, which a client may use.
        self._is_over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # until each has told `_ended`
        if self._fault is not None:
            raise self._fault

    async def _repeat(self) -> None:
        while not self._is_over:
            await self._ask(self._now_s())

    async def _arrive(self, due: Iterator[float]) -> None:
        for due_s in due:
            if self._is_over:
                return
            await asyncio.sleep(max(0.0, due_s - self._now_s()))
            self._begin(self._ask(due_s))

    async def _watch_loop(self, lags_s: list[float]) -> None:
        while True:
            before_s = self._now_s()
            await asyncio.sleep(_TICK_S)
            if self._window.holds(before_s):
                lags_s.append(self._now_s() - before_s - _TICK_S)

    async def _ask(self, due_s: float) -> None:
        text, max_tokens = next(self._texts)
        sample = Sample(due_s, self._now_s())
        self._samples.append(sample)
        is_awaited = self._window.holds(due_s)
        self._await_more(is_awaited)
        try:
            async with self._client.stream(text, self._sampling, max_tokens=max_tokens) as stream:
                async for delta in stream:
                    if delta.text or delta.finish_reason:
                        sample.arrivals_s.append(self._now_s())
                    sample.num_input_tokens = delta.num_input_tokens or sample.num_input_tokens
                    sample.num_output_tokens = delta.num_output_tokens or sample.num_output_tokens
            sample.is_over = True
        except TridentError as exc:
            sample.error, sample.is_over = exc.message, True
        finally:
            self._await_more(-is_awaited)
        if sample.error:
            await asyncio.sleep(_PAUSE_S)

    def _await_more(self, change: int) -> None:
        self._num_awaited += change
        if self._num_awaited:
            self._all_ended.clear()
        else:
            self._all_ended.set()
