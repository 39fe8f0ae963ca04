"""A batch job: the lines of an input, asked so many at a time, each answered once, however often the job is killed.

1. An input line that has an answer in the output is passed over; the digest in it says that it is that line's.
2. Every other line is asked; its answer goes into the output, its failure into the file of failures.
3. So after a run that came to its end each line is in exactly one of the two. The next run asks for the failures again.

It knows neither the shell nor how a request is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from trident.contract import ENSEMBLE
from trident.errors import (
    AuthenticationError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaError,
    RequestCancelledError,
    SettingsError,
    TridentError,
    UnavailableError,
)
from trident_client.batch import BatchRequest, BatchResult
from trident_client.batch_lines import (
    Format,
    Task,
    answer_line,
    digest_of,
    failure_line,
    format_of,
    is_blank,
    read_line,
)
from trident_client.batch_output import AnswerFile, FailureFile
from trident_client.sampling import Sampling

SYNC_S = 1.0  # what a machine that loses power may cost: the answers of this time are asked for again

_FOR_ALL = (AuthenticationError, PermissionDeniedError, QuotaError)  # what ends one request so would end every other

Ask = Callable[[Iterable[BatchRequest]], AsyncIterator[BatchResult]]


@dataclass
class Tally:
    """Where a job stands; counts of input lines, blank ones left out."""

    num_before: int = 0  # answered by an earlier run
    num_answered: int = 0
    num_failed: int = 0  # refused, or wrong in themselves
    num_bad_lines: int = 0  # of those, wrong in themselves
    num_output_tokens: int = 0


class BatchJob:
    """Of one input, read lazily, one line after the other."""

    def __init__(
        self,
        lines: Iterable[bytes],
        answers: AnswerFile,
        failures: FailureFile,
        *,
        base: Sampling,
        form: Format | None = None,
        model: str = ENSEMBLE.name,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`base` holds where a line says nothing; `form` None: the first line that is not blank decides.

        `model`: what `ask` asks; the answers of another one are not gone on with.
        """
        self.tally: Tally = Tally()
        self._lines = lines
        self._answers = answers
        self._failures = failures
        self._base = base
        self._form: Format | None = form
        self._model = model
        self._clock = clock  # seconds since 1970
        self._asked: dict[int, Task] = {}  # by index of the request, while it runs
        self._custom_ids: dict[str, int] = {}  # number of the line that has it

    async def run(self, ask: Ask, is_ready: Callable[[], Awaitable[bool]], tell: Callable[[Tally], None]) -> None:
        """Ask for all that has no answer. `tell` is called after each result.

        Raises:
            UnavailableError: no server answers any more. What was answered is kept, here and in what follows.
            AuthenticationError, PermissionDeniedError, QuotaError: the gateway lets nothing more of this key through.
            SettingsError: the output answers another input, or this one by another model or with other parameters.
            HostError: a file cannot be written.
        """
        syncing = asyncio.create_task(self._keep_synced())
        try:
            # Its end, however it comes, cancels what runs.
            async with aclosing(cast("AsyncGenerator[BatchResult, None]", ask(self._requests()))) as results:
                async for result in results:
                    await self._take(self._asked.pop(result.index), result, is_ready)
                    tell(self.tally)
        finally:
            syncing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await syncing
        self._answers.put_in_order()

    def _requests(self) -> Iterator[BatchRequest]:
        """Of the lines that have no answer yet; those that cannot be asked fail here."""
        index = 0
        for number, line in enumerate(self._lines, 1):
            if is_blank(line):
                continue
            self._form = self._form or format_of(line)
            if self._is_answered(number, line, self._form):
                continue
            task = self._with_own_id(read_line(number, line, self._form, self._base, self._model))
            if task.request is None or task.error is not None:
                self.tally.num_bad_lines += 1
                self._fail(task, task.error or InvalidRequestError("nothing is asked"))
                continue
            self._asked[index] = task
            index += 1
            yield task.request

    def _is_answered(self, number: int, line: bytes, form: Format) -> bool:
        digest = self._answers.digest_of(number)
        if digest is None:
            return False
        if digest != digest_of(line, self._base, form, self._model):
            raise SettingsError(
                f"{self._answers.path} answers another input, model or parameters at line {number}; "
                "choose another --output, or give those of the first run"
            )
        if form == "json":
            self._with_own_id(read_line(number, line, form, self._base, self._model))
        self.tally.num_before += 1
        return True

    def _with_own_id(self, task: Task) -> Task:
        """The task, which is wrong when an earlier line has its custom_id."""
        if task.custom_id is None:
            return task
        first = self._custom_ids.setdefault(task.custom_id, task.number)
        if first == task.number:
            return task
        error = InvalidRequestError(f"custom_id '{task.custom_id}' is that of line {first} already")
        return replace(task, request=None, error=error)

    async def _take(self, task: Task, result: BatchResult, is_ready: Callable[[], Awaitable[bool]]) -> None:
        completion, error = result.completion, result.error
        if completion is not None and completion.finish_reason == "cancelled":
            error = RequestCancelledError("somebody cancelled the request on the server")
        if isinstance(error, _FOR_ALL) or (isinstance(error, UnavailableError) and not await is_ready()):
            raise error
        if error is not None or completion is None:
            self._fail(task, error or UnavailableError("no answer came"))
            return
        self._answers.append(task.number, task.digest, answer_line(task, completion, int(self._clock())))
        self.tally.num_answered += 1
        self.tally.num_output_tokens += sum(each.num_output_tokens or 0 for each in (completion, *completion.others))

    def _fail(self, task: Task, error: TridentError) -> None:
        self._failures.append(failure_line(task, error))
        self.tally.num_failed += 1

    async def _keep_synced(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            await asyncio.to_thread(self._answers.sync)
