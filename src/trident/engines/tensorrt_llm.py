"""TensorRT-LLM's LLM API on NVIDIA GPUs, as an Engine: TensorRT engines and the PyTorch backend.

The LLM API has workers of its own and speaks asyncio: one thread here runs the event loop in which every request is a
task. What the tasks bring in one turn of the loop leaves as one list, by a queue that `wait` reads.

    a request fails    its task tells it, and nobody else notices
    the engine fails   the loop ends, and `wait` raises from then on
    a sequence is cancelled    it has ended at once; the engine drops it, and gives its blocks back, in its next step
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from trident.engines.base import EngineStats, Progress, Sequence
from trident.engines.tensorrt_llm_answer import Answer
from trident.engines.tensorrt_llm_api import LlmApi, log
from trident.engines.tensorrt_llm_stats import Tally
from trident.errors import EngineError, TridentError
from trident.manifest import Manifest

STATS_S = 3600.0  # an iteration's statistics are waited for; TensorRT-LLM's iterator is of no use once that is over
RETRY_S = 0.5  # where there are none


class TensorRtLlmEngine:
    """An engine directory of kind `tensorrt_llm` or `tensorrt_llm_pytorch`."""

    is_simulated = False

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Load it; returns when its workers are ready.

        Raises:
            HostError: TensorRT-LLM is not installed, or of a version that cannot run this kind.
            ManifestError: it refuses the files or an option.
        """
        self._api = LlmApi(directory, manifest)
        self._news: queue.SimpleQueue[list[Progress] | EngineError] = queue.SimpleQueue()
        self._tally = Tally()
        self._lock = threading.Lock()  # of the next one, so that nothing is handed to a loop that has ended
        self._is_closed = False
        # Everything from here on belongs to the loop's thread.
        self._tasks: dict[Sequence, asyncio.Task[None]] = {}
        self._aborts: dict[Sequence, Callable[[], None]] = {}
        self._gathered: list[Progress] = []
        self._loop = asyncio.new_event_loop()
        self._busy = asyncio.Event()
        self._over = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="tensorrt_llm", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """See Engine.submit."""
        self._post(self._start, sequence)

    def cancel(self, sequence: Sequence) -> None:
        """See Engine.cancel."""
        self._post(self._stop, sequence)

    def wait(self, timeout_s: float | None) -> list[Progress]:
        """See Engine.wait."""
        try:
            news = [self._news.get(timeout=timeout_s)]
        except queue.Empty:
            return []
        while not self._news.empty():
            news.append(self._news.get())
        progress = [one for part in news if isinstance(part, list) for one in part]
        gone = next((part for part in news if isinstance(part, EngineError)), None)
        if gone is not None:
            self._news.put(gone)  # for the next call
            if not progress:
                raise gone
        return progress

    def stats(self) -> EngineStats:
        """See Engine.stats."""
        return self._tally.stats(len(self._tasks))

    def close(self) -> None:
        """See Engine.close."""
        self._post(self._end, EngineError("the engine is closed"))
        with self._lock:
            self._is_closed = True
        self._thread.join()

    def _post(self, function: Callable[..., None], argument: object) -> None:
        with self._lock:
            if not self._is_closed:
                self._loop.call_soon_threadsafe(function, argument)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Until the engine is closed or has failed."""
        watching = asyncio.create_task(self._watch())
        gone = await self._over
        for task in (watching, *self._tasks.values()):
            task.cancel()
        await asyncio.gather(watching, *self._tasks.values(), return_exceptions=True)
        self._flush()
        self._news.put(gone)
        with self._lock:
            self._is_closed = True
        try:
            self._api.shutdown()
        except Exception as exc:  # noqa: BLE001 - it is over in any case, and `wait` has said why
            log(exc)

    def _end(self, gone: EngineError) -> None:
        if not self._over.done():
            self._over.set_result(gone)

    def _start(self, sequence: Sequence) -> None:
        self._tasks[sequence] = self._loop.create_task(self._follow(sequence))

    def _stop(self, sequence: Sequence) -> None:
        task = self._tasks.get(sequence)
        if task is not None:
            task.cancel()
            self._abort(sequence)
            self._tell(Progress(sequence, [], "cancelled"))

    async def _follow(self, sequence: Sequence) -> None:
        """One request, from its submission to its end."""
        try:
            self._api.check(sequence.request)
            output = self._api.generate(sequence.request)
            self._busy.set()
            self._aborts[sequence] = output.abort
            answer = Answer(sequence, self._api.kv_block_tokens)
            async for _ in output:
                progress = answer.read(output)
                if progress.end is not None and not output.finished:
                    self._abort(sequence)  # it ended by an id of which the engine does not know
                if progress.token_ids or progress.end is not None or progress.num_cached_tokens is not None:
                    self._tell(progress)
                if progress.end is not None:
                    return
            self._tell(Progress(sequence, [], EngineError("the engine stopped answering the request")))
        except TridentError as exc:
            self._tell(Progress(sequence, [], exc))
        except self._api.refusals as exc:
            log(exc)
            self._abort(sequence)
            self._tell(Progress(sequence, [], EngineError("the engine refused the request; see the server's log")))
        except Exception as exc:  # noqa: BLE001 - anything else means that nothing will come any more
            log(exc)
            self._end(EngineError("the engine ended unexpectedly"))

    def _abort(self, sequence: Sequence) -> None:
        abort = self._aborts.pop(sequence, None)
        if abort is not None:
            abort()

    def _tell(self, progress: Progress) -> None:
        if not self._gathered:
            self._loop.call_soon(self._flush)  # after the other tasks that the same step has woken
        self._gathered.append(progress)
        if progress.end is not None:
            self._tasks.pop(progress.sequence, None)
            self._aborts.pop(progress.sequence, None)
            if not self._tasks:
                self._busy.clear()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._news.put(gathered)

    async def _watch(self) -> None:
        """Read the statistics; there are none before the first request has reached the engine."""
        while True:
            await self._busy.wait()
            num_read = 0
            try:
                async for iteration in self._api.iterations(STATS_S):
                    if self._over.done():  # asyncio.wait_for, in there, can lose a cancel while there is much to read
                        return
                    self._tally.add(iteration)
                    num_read += 1
            except Exception as exc:  # noqa: BLE001 - answers go on without them
                log(exc)
            if not num_read:
                await asyncio.sleep(RETRY_S)
