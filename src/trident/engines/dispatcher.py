"""Between the engine and whoever asked: admission, order, deadlines, cancelling, and few, full responses.

One thread takes in what each step brought while the engine already works on the next; the threads of `delivery` send.
The first token of a stream leaves at once, and so does every other as long as sending is cheap beside the engine. When
it is not (many streams, short steps), the tokens of several steps leave in one response, and as soon as a token has
waited for the deployment's bound, a thread that is free sends it. One lock guards it all, hence one long file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from trident.engines.base import Engine, Progress
from trident.engines.completion import Completion
from trident.engines.delivery import Delivery
from trident.engines.job import Job, Reply
from trident.engines.pace import Pace
from trident.engines.parameters import Generation
from trident.engines.recent_ids import RecentIds
from trident.engines.telemetry import Telemetry
from trident.engines.waiting_line import WaitingLine
from trident.errors import (
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelledError,
    UnavailableError,
)
from trident.manifest import Limits
from trident.text.detokenizer import Detokenizer

POLL_S = 0.1  # longest time between two looks at deadlines and at askers who may have left
IDLE_S = 0.5  # the same for the first request after a pause, until the engine says something
AHEAD = 8  # sequences that wait in the engine itself, so that a place is filled in the step in which it falls free

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Load:
    """How much is admitted."""

    num_waiting: int  # for a place in the batch
    num_waiting_tokens: int
    num_live: int  # waiting or with the engine


class Dispatcher:
    """Runs requests on one engine. `submit`, `cancel`, `load` and `drain` may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        detokenizers: Callable[[bool], Detokenizer],
        pace: Pace,
        limits: Limits,
        telemetry: Telemetry,
        on_engine_gone: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start to work.

        Args:
            engine: loaded.
            detokenizers: of the same engine, by whether special tokens are skipped.
            pace: how far the tokens of a stream are merged.
            limits: of the engine; its batch and the bounds of the queue.
            telemetry: told of everything that ends, leaves or is refused.
            on_engine_gone: called last, when the engine broke and every request has been told.
            clock: seconds, monotonic.
        """
        self._engine = engine
        self._detokenizers = detokenizers
        self._limits = limits
        self._on_engine_gone = on_engine_gone
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[Completion, Job] = {}  # guarded by _lock, as the next seven
        self._ids: dict[str, Job] = {}
        self._recent_ids = RecentIds()
        self._line = WaitingLine()
        self._with_engine: set[Completion] = set()
        self._is_draining = False
        self._is_closing = False
        self._is_over = False
        self._next_poll = 0.0
        self._delivery = Delivery(self._lock, pace, telemetry, self._with_engine.__len__, self._forget, clock)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def submit(
        self, request_id: str, generations: Sequence[Generation], reply: Reply, timeout_s: float | None = None
    ) -> None:
        """Admit a request of one or more sequences; `timeout_s` from now bounds all of them.

        Raises:
            UnavailableError: the engine is gone, or the server is stopping.
            QueueFullError: too many sequences or tokens are waiting; the message has the number.
            InvalidRequestError: a live request has this id.
        """
        now = self._clock()
        num_tokens = sum(len(generation.engine_request.input_ids) for generation in generations)
        with self._lock:  # first, so that what is refused costs little
            self._check_admission(request_id, len(generations), num_tokens)
        completions = [
            Completion(
                generation,
                self._detokenizers(generation.text_options.skip_special_tokens),
                now,
                self._engine.is_simulated,
            )
            for generation in generations
        ]
        times = [generation.timeout_s for generation in generations if generation.timeout_s]
        deadline = now + min([*times, *([timeout_s] if timeout_s else [])], default=float("inf"))
        job = Job(request_id, completions, reply, deadline)
        with self._lock:
            self._check_admission(request_id, len(generations), num_tokens)
            if request_id:
                self._ids[request_id] = job
            for completion in completions:
                self._jobs[completion] = job
                self._line.add(completion)
            self._fill(now)
            if self._recent_ids.is_cancelled(request_id, now):
                self._cancel(job)

    def cancel(self, request_id: str) -> None:
        """Cancel every sequence of the request with this id, also when it comes a moment after its cancel."""
        now = self._clock()
        with self._lock:
            job = self._ids.get(request_id)
            if job is None:
                self._recent_ids.cancel(request_id, now)
            else:
                self._cancel(job)

    def load(self) -> Load:
        """How much is admitted now."""
        with self._lock:
            return Load(len(self._line), self._line.num_tokens, len(self._jobs))

    def drain(self) -> None:
        """Refuse what is new from now on; what is admitted goes on, and `load` says when it has ended."""
        with self._lock:
            self._is_draining = True

    def close(self) -> None:
        """Stop the engine, end every request as cancelled, and wait for the thread."""
        with self._lock:
            self._is_closing = True
        self._engine.close()
        self._thread.join()

    def _check_admission(self, request_id: str, num_sequences: int, num_tokens: int) -> None:
        if self._is_over:
            raise UnavailableError("the engine is not running; try again in a few seconds")
        if self._is_draining:
            raise UnavailableError("the server is stopping; try another one, or again in a few seconds")
        if request_id and request_id in self._ids:
            raise InvalidRequestError(f"a live request has the id '{request_id}'; ids must be unique")
        limits = self._limits
        if num_sequences > limits.max_queued_requests:
            raise InvalidRequestError(
                f"the request has {num_sequences} sequences, this engine takes {limits.max_queued_requests} at a time"
            )
        if len(self._jobs) + num_sequences > limits.max_queued_requests:
            raise QueueFullError(
                f"the queue is full: {len(self._jobs)} of {limits.max_queued_requests} sequences are waiting or "
                "running; try again later"
            )
        if self._line and self._line.num_tokens + num_tokens > limits.max_queued_tokens:
            raise QueueFullError(
                f"the queue is full: {len(self._line)} sequences with {self._line.num_tokens} prompt tokens "
                f"are waiting (at most {limits.max_queued_tokens}); try again later"
            )

    def _fill(self, now: float) -> None:
        """Hand the engine as many sequences as it can run, and a few more. Under the lock."""
        # What waits for its adapter or its guide is not counted, or everybody else would wait with it.
        most = self._limits.max_num_seqs + AHEAD + self._engine.stats().num_preparing
        while len(self._with_engine) < most:
            completion = self._line.pop()
            if completion is None:
                return
            self._with_engine.add(completion)
            completion.submitted(now)
            self._engine.submit(completion)

    def _cancel(self, job: Job) -> None:
        """Under the lock."""
        job.is_cancelled = True
        now = self._clock()
        for completion in list(job.open):
            if completion in self._with_engine:
                self._engine.cancel(completion)
            elif self._line.remove(completion):  # nobody else ends it
                completion.accept(Progress(completion, [], "cancelled"), now)
                self._delivery.add(job, completion, now)
        self._delivery.wake()

    def _run(self) -> None:
        try:
            self._loop()
        except EngineError as exc:
            self._end(exc)
        except Exception as exc:  # noqa: BLE001 - nobody else can answer the streams
            _log.exception("the dispatcher's thread failed")
            self._end(EngineError(f"internal error ({type(exc).__name__})"))

    def _loop(self) -> NoReturn:
        while True:
            step = self._engine.wait(POLL_S if self._jobs else IDLE_S)
            if self._delivery.is_broken:
                raise EngineError("internal error; see the server's log")
            now = self._clock()
            if step:
                with self._lock:
                    self._accept(step, now)
            if now >= self._next_poll:
                self._next_poll = now + POLL_S
                self._poll(now)

    def _end(self, error: EngineError) -> None:
        told = RequestCancelledError("the server is stopping") if self._is_closing else error
        with self._lock:
            self._is_over = True
            for job in self._live_jobs():
                self._delivery.fail(job, told, "cancelled" if self._is_closing else "error")
        self._delivery.close()
        if not self._is_closing:
            self._on_engine_gone()

    def _accept(self, step: list[Progress], now: float) -> None:
        """Take what a step brought. Under the lock."""
        self._delivery.stepped(now)
        has_room = False
        for progress in step:
            completion = progress.sequence
            assert isinstance(completion, Completion)  # noqa: S101 - for the type checker
            if progress.end is not None:
                has_room = True
                self._with_engine.discard(completion)
            job = self._jobs.get(completion)
            if job is None:
                continue
            try:
                completion.accept(progress, now)
            except Exception as exc:  # noqa: BLE001 - a bug that one request meets ends that request, and no other
                _log.exception("a request failed")
                self._delivery.fail(job, EngineError(f"internal error ({type(exc).__name__})"), "error")
            else:
                self._delivery.add(job, completion, now)
        if has_room:
            self._fill(now)
        self._delivery.wake()

    def _forget(self, completions: Sequence[Completion], ended_job: Job | None) -> None:
        """Free the places of what is over. Under the lock."""
        for completion in completions:
            self._jobs.pop(completion, None)
            if not self._line.remove(completion) and completion in self._with_engine:
                self._engine.cancel(completion)  # left alone when it has ended
        if ended_job is not None and self._ids.get(ended_job.request_id) is ended_job:
            del self._ids[ended_job.request_id]
            self._recent_ids.ended(ended_job.request_id, self._clock())

    def _live_jobs(self) -> list[Job]:
        return list({id(job): job for job in self._jobs.values()}.values())

    def _poll(self, now: float) -> None:
        """Deadlines, and askers who left without a word."""
        with self._lock:
            self._fill(now)
            jobs = self._live_jobs()
            for job in jobs:
                if now >= job.deadline:
                    seconds = job.deadline - job.completions[0].arrival
                    late = DeadlineExceededError(f"deadline exceeded: the request's {seconds:g} s are over")
                    self._delivery.fail(job, late, "timeout")
        for job in jobs:
            if job.is_asked_due(now) and self._delivery.is_asker_gone(job):
                with self._lock:
                    self._cancel(job)
