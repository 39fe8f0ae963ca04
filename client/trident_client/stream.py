"""The life of one request: begun by the first read, and then in exactly one final state for ever.

From "new" to "running", and then "ended" (the answer is whole, or somebody cancelled it on the server), "failed" (a
TridentError was raised) or "cancelled" (left early: the server was told).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

from trident.errors import DeadlineExceededError, TridentError
from trident_client.attempts import Attempts
from trident_client.completion import Delta
from trident_client.failure import cut_off
from trident_client.interface import ModelInterface
from trident_client.resume import Resume
from trident_client.tracing import Span
from trident_client.transport import Call

State = Literal["new", "running", "ended", "failed", "cancelled"]
FINAL: frozenset[State] = frozenset({"ended", "failed", "cancelled"})


class AsyncStream:
    """The deltas of one completion, as they come. Nothing is sent before the first is asked for.

    As a context manager it cancels the request on the server when it is left before its end. Cancelling the task that
    reads ends it too: the wire's call does not outlive that.
    """

    def __init__(
        self, attempts: Attempts, span: Span, *, timeout_s: float | None = None, resume: Resume | None = None
    ) -> None:
        """`timeout_s` counts from the first read, retries included; `resume`: of a request that may begin anew."""
        self.request_id: str = attempts.request_id
        self.interface: ModelInterface | None = None  # set when the request is prepared
        self._attempts = attempts
        self._span = span
        self._timeout_s = timeout_s
        self._resume = resume
        self._state: State = "new"
        self._call: Call | None = None
        self._has_begun = False  # a delta has come
        self._texts: dict[int, str] = {}  # so far, by sequence, where responses are cumulative
        self._ended: set[int] = set()  # sequences
        self._open: set[int] = set()
        self._reader: asyncio.Task[object] | None = None  # while it waits, where there is a deadline
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self._telling: asyncio.Task[None] | None = None  # the server, that nobody reads any more

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    @property
    def num_retries(self) -> int:
        """How often it was sent again."""
        return self._attempts.num_retries

    @property
    def remaining_s(self) -> float | None:
        """Seconds until its deadline, of which there may be none."""
        if self._timer is None:
            return self._timeout_s
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Delta:
        """The next delta.

        Raises:
            TridentError: the request failed; there is nothing after it.
        """
        if self._state in FINAL:
            raise StopAsyncIteration
        if self._state == "new":
            self._begin()
        if self._timer is not None:
            self._reader = asyncio.current_task()
        try:
            delta = None if self._is_late else await self._next()
        except asyncio.CancelledError:
            if not self._is_late:
                self._leave()
                raise
            _uncancel(self._reader)
            delta = None
        except TridentError as exc:
            if self._finish("failed", exc):
                raise
            delta = None  # closed meanwhile
        finally:
            self._reader = None
        if self._is_late and self._state not in FINAL:
            await self._fail_late()
        if delta is None:
            self._finish("ended")
            raise StopAsyncIteration
        return delta

    async def aclose(self) -> None:
        """End the stream; if it was running, cancel the request on the server, which may no longer be there."""
        self._leave()
        try:
            if self._telling is not None:
                await asyncio.wait([self._telling])
        finally:
            if self._call is not None:
                await self._call.close()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _begin(self) -> None:
        self._state = "running"
        self._span.start()
        if self._timeout_s is not None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._expire)

    async def _next(self) -> Delta | None:
        """The next delta that is worth giving; None: there is none, or the stream was closed meanwhile."""
        while True:
            try:
                if self._call is None:
                    self._call = await self._attempts.begin()
                    if self._state in FINAL:
                        return None
                delta = await self._call.read()
                if self._state in FINAL:
                    return None
                if delta is None:
                    self._check_whole()
                    return None
                if (accepted := self._accept(delta)) is not None:
                    return accepted
            except TridentError as exc:
                if self._state in FINAL or not await self._goes_on(exc):
                    raise

    async def _goes_on(self, error: TridentError) -> bool:
        if self._call is not None:
            await self._call.close()
        if not await self._attempts.may_go_on(error, has_begun=self._has_begun) or self._state in FINAL:
            return False
        self._call = None
        self._texts.clear()
        self._open.clear()
        self._ended.clear()
        if self._resume is not None:
            self._resume.restart()
        self._span.retried(error)
        return True

    def _accept(self, delta: Delta) -> Delta | None:
        """What the reader gets of it. A response of a sequence that has ended comes too late and is dropped."""
        index = delta.sequence_index
        if index in self._ended:
            return None
        if not self._has_begun:
            self._has_begun = True
            self._span.began()
        if not self._open:
            self._attempts.answered()
        self._open.add(index)
        if delta.finish_reason:
            self._ended.add(index)
            self._span.saw_end(delta)
        if self.interface is not None and self.interface.is_cumulative:
            before, self._texts[index] = self._texts.get(index, ""), delta.text
            delta = replace(delta, text=delta.text.removeprefix(before))
        return delta if self._resume is None else self._resume.accept(delta)

    def _check_whole(self) -> None:
        """A server, or a proxy before it, may end a stream in good order that is not whole."""
        has_reasons = self.interface is not None and self.interface.has_finish_reason
        if has_reasons and self._open - self._ended and self._attempts.endpoint is not None:
            raise cut_off(self._attempts.endpoint.url, "the stream ended without a finish reason")

    def _finish(self, state: State, error: TridentError | None = None) -> bool:
        """Enter a final state; False when there was one."""
        if self._state in FINAL:
            return False
        was_new, self._state = self._state == "new", state
        if self._timer is not None:
            self._timer.cancel()
        if not was_new:
            self._attempts.end()
            self._span.end(state, error, self.num_retries)
        return True

    def _leave(self) -> None:
        endpoint = self._attempts.endpoint  # before the end, which forgets it
        if self._finish("cancelled") and self._call is not None and endpoint is not None:
            self._telling = self._attempts.cancel_soon(endpoint)

    def _expire(self) -> None:
        self._is_late = True
        if self._reader is not None:
            self._reader.cancel()

    async def _fail_late(self) -> None:
        error = DeadlineExceededError(f"deadline exceeded: the request's {self._timeout_s:g} s are over")
        endpoint = self._attempts.endpoint
        self._finish("failed", error)
        if self._call is not None:
            await self._call.close()
            if endpoint is not None:
                self._telling = self._attempts.cancel_soon(endpoint)
        raise error


def _uncancel(task: asyncio.Task[object] | None) -> None:
    """Python 3.11 and later count cancels."""
    if task is not None and hasattr(task, "uncancel"):
        task.uncancel()
