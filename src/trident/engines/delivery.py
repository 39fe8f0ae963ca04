"""Responses on their way out: several threads, because each `send` waits half a millisecond for Triton (2.51).

A thread takes the next response out only when it is free to send it, so being late makes responses fuller, not more.
The responses of one request leave in their order, one at a time (Triton breaks otherwise); those of different requests
side by side.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trident.engines.completion import Chunk, Completion
from trident.engines.job import Job
from trident.engines.outbox import Outbox
from trident.engines.pace import Pace
from trident.engines.telemetry import Telemetry
from trident.errors import EngineError, TridentError

NUM_THREADS = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Letter:
    """One response, or the error that ends a request."""

    job: Job
    chunk: Chunk | None
    is_final: bool


class Delivery:
    """Most methods are called under the owner's lock, which is not held while a response is sent."""

    def __init__(
        self,
        lock: threading.Lock,
        pace: Pace,
        telemetry: Telemetry,
        num_streams: Callable[[], int],
        forget: Callable[[Sequence[Completion], Job | None], None],
        clock: Callable[[], float],
    ) -> None:
        """Start the threads.

        Args:
            lock: guards all that is done to jobs and completions.
            pace: how far the tokens of a stream are merged.
            telemetry: told of everything that ends or leaves.
            num_streams: how many sequences the engine has; under the lock.
            forget: called under the lock with sequences that are over, and with their job when all of it is.
            clock: seconds, monotonic.
        """
        self._changed = threading.Condition(lock)
        self._outbox = Outbox(pace)
        self._failed: deque[Job] = deque()
        self._telemetry = telemetry
        self._num_streams = num_streams
        self._forget = forget
        self._clock = clock
        self.is_broken = False  # a thread met a bug and has ended
        self._is_closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"sender-{number}", daemon=True) for number in range(NUM_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def stepped(self, now: float) -> None:
        """A step of the engine ended at `now`."""
        self._outbox.stepped(now)

    def add(self, job: Job, completion: Completion, now: float) -> None:
        """The sequence may have something to send since `now`; nothing happens before `wake`."""
        if completion.is_ready and not job.is_busy:
            self._outbox.add(job, completion, now)

    def wake(self) -> None:
        """Let a thread look; it wakes the next one when there is more."""
        if self._outbox:
            self._changed.notify()

    def fail(self, job: Job, error: TridentError, finish_reason: str) -> None:
        """End a request with an error, after what is being sent of it."""
        if job.error is not None:
            return
        job.error = error
        now = self._clock()
        completions = list(job.open)
        for completion in completions:
            self._telemetry.request_ended(job.record(completion, finish_reason, now))
            completion.fail()
            self._outbox.remove(completion)
        job.open.clear()
        self._forget(completions, job)
        if not job.is_busy:
            self._post_error(job)

    def is_asker_gone(self, job: Job) -> bool:
        """Ask, without the lock, unless one of its responses is on its way; nothing of it is sent meanwhile.

        A question behind the last response is a question about freed memory, of which tritonserver dies (2.51).
        """
        with self._changed:
            if job.is_busy or not job.open:
                return False
            job.is_busy = True
        error: EngineError | None = None
        try:
            return job.reply.is_cancelled()
        except Exception as exc:  # noqa: BLE001 - as in _take
            _log.exception("a request failed")
            error = EngineError(f"internal error ({type(exc).__name__})")
            return False
        finally:
            with self._changed:
                self._sent(job, error)
                self.wake()

    def close(self) -> None:
        """Send what is left and end the threads; without the lock."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=10)  # a server that is going away may never take the last responses

    def _run(self) -> None:
        try:
            self._send_all()
        except Exception:  # noqa: BLE001 - the owner ends every request, so that none hangs
            _log.exception("a sender's thread failed")
            self.is_broken = True

    def _send_all(self) -> None:
        letter = self._next()
        while letter is not None:
            start = self._clock()
            error = self._send(letter)
            with self._changed:
                self._outbox.sent(self._clock() - start)
                self._sent(letter.job, error)
            letter = self._next()

    def _next(self) -> Letter | None:
        """The next response, taken now; waits until there is one. None: closed."""
        with self._changed:
            while True:
                if self._failed:
                    return Letter(self._failed.popleft(), None, is_final=True)
                now, num_streams = self._clock(), self._num_streams()
                if self._outbox.is_due(now, num_streams):
                    job, completion = self._outbox.pop()
                    letter = None if job.is_busy else self._take(job, completion, now)
                    if letter is None:  # `_sent` adds it again
                        continue
                    if self._outbox.is_due(now, num_streams):
                        self._changed.notify()
                    return letter
                if self._is_closing:
                    return None
                moment = self._outbox.next_moment()
                self._changed.wait(None if moment is None else max(0.0, moment - now))

    def _take(self, job: Job, completion: Completion, now: float) -> Letter | None:
        """Its next response; None when there is an error instead."""
        if completion.error is not None:
            self.fail(job, completion.error, "error")
            return None
        last_sent = completion.last_sent
        try:
            chunk = completion.take(now)
        except Exception as exc:  # noqa: BLE001 - a bug that one request meets ends that request, and no other
            _log.exception("a request failed")
            self.fail(job, EngineError(f"internal error ({type(exc).__name__})"), "error")
            return None
        num_tokens = len(chunk.output_ids) if completion.is_streaming else 0
        self._telemetry.response(num_tokens, None if last_sent is None else now - last_sent)
        if completion.has_ended:  # before the asker hears of it, so that its next request finds the place free
            del job.open[completion]
            self._telemetry.request_ended(job.record(completion, completion.finish_reason, now))
            self._forget([completion], None if job.open else job)
        job.is_busy = True
        return Letter(job, chunk, is_final=not job.open)

    def _send(self, letter: Letter) -> EngineError | None:
        """Send it; the answer says why its tokens are lost."""
        reply = letter.job.reply
        if letter.chunk is None:
            assert letter.job.error is not None  # noqa: S101 - for the type checker
            reply.fail(letter.job.error)
            return None
        try:
            reply.send(letter.chunk, letter.is_final)
        except EngineError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - as in _take
            _log.exception("a request failed")
            return EngineError(f"internal error ({type(exc).__name__})")
        return None

    def _sent(self, job: Job, error: EngineError | None) -> None:
        was_busy, job.is_busy = job.is_busy, False
        if job.error is not None:
            if was_busy:  # it failed meanwhile
                self._post_error(job)
        elif error is not None:  # so the request must not go on
            self.fail(job, error, "error")
        else:
            now = self._clock()
            for completion in job.open:
                self.add(job, completion, now)

    def _post_error(self, job: Job) -> None:
        self._failed.append(job)
        self._changed.notify()
