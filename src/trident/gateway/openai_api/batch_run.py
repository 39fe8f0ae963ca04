"""One batch from its file to the files of its answers, however often what runs it is killed.

The file is checked as a whole: one that is wrong anywhere is asked nowhere. Each line goes with its answer into one of
two files as soon as it has one, and a line that is in either is not asked again. At the end they become files of the
tenant, in the same transaction as the batch's end. It knows neither HTTP nor which batches there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from trident.errors import TridentError
from trident.gateway.openai_api.batch_client import Reply
from trident.gateway.openai_api.batch_input import check_lines, lines_of, read_request
from trident.gateway.openai_api.batch_store import BatchStore
from trident.gateway.openai_api.file_store import FileStore, NewFile
from trident_client.batch_output import AnswerFile

Json = dict[str, Any]
Ask = Callable[[str, Any], Awaitable[Reply]]  # endpoint and body; gives the answer, or a refusal that stays
INPUT = "input.jsonl"  # in the folder of a batch, as the next two
_ANSWERS, _FAILURES = "answers.jsonl", "failures.jsonl"
_UNASKED = {
    "cancelled": "the batch was cancelled before this request was answered",
    "expired": "the batch's completion window ended before this request was answered",
    "revoked": "the key that made the batch was revoked before this request was answered",
}


class BatchRun:
    """Of a batch that this runner has claimed."""

    def __init__(
        self,
        row: Row[Any],
        runner: str,
        folder: Path,
        *,
        store: BatchStore,
        files: FileStore,
        ask: Ask,
        num_at_once: int,
        max_line_bytes: int,
        beat_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder` holds its input; `num_at_once`: lines of it; `beat_s`: between two beats."""
        self._row = row
        self._runner = runner
        self._folder = folder
        self._store = store
        self._files = files
        self._ask = ask
        self._num_at_once = num_at_once
        self._max_line_bytes = max_line_bytes
        self._beat_s = beat_s
        self._clock = clock  # seconds since 1970
        self._answers: AnswerFile | None = None
        self._failures: AnswerFile | None = None

    async def run(self) -> None:
        """To its end.

        Raises:
            LeaseLostError: another runner has it now.
            SettingsError: another process of this machine still writes its answers.
            TridentError: the database or the disk fails; what is answered stays.
        """
        work = asyncio.ensure_future(self._work())
        beating = asyncio.ensure_future(self._keep_beating())
        try:
            await asyncio.wait((work, beating), return_when=asyncio.FIRST_COMPLETED)
            if beating.done() and not work.done():  # cancelled, expired or lost
                reason = beating.result()
                await _cancel(work)
                beating = asyncio.ensure_future(self._keep_beating(is_ending=True))
                work = asyncio.ensure_future(self._cut_short(reason))
                await work
            work.result()
        finally:
            await _cancel(work, beating)
            # The thread has it at once, so that both are closed whoever is cancelled while he waits for that.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._close))

    async def _work(self) -> None:
        if reason := await self._reason_to_stop(self._row):
            await self._cut_short(reason)
            return
        if self._row.status == "validating" and not await self._check():
            return
        await self._open()
        await self._answer_all()
        self._row = await self._store.advance(self._row.id, self._runner, "finalizing", **self._counts())
        await self._end("completed")

    async def _check(self) -> bool:
        with (self._folder / INPUT).open("rb") as file:
            checked = await asyncio.to_thread(check_lines, file, self._row.endpoint, self._max_line_bytes)
        if checked.faults:
            await self._store.end(self._row.id, self._runner, "failed", (), errors=checked.faults)
            return False
        self._row = await self._store.advance(self._row.id, self._runner, "in_progress", total=checked.num_lines)
        return True

    async def _open(self) -> None:
        if self._answers is not None:
            return
        opening = asyncio.ensure_future(asyncio.to_thread(_open_both, self._folder))
        try:
            self._answers, self._failures = await asyncio.shield(opening)
        except asyncio.CancelledError:  # the thread goes on, and nobody else would close what it opens
            with contextlib.suppress(TridentError):
                for file in await opening:
                    file.close()
            raise

    async def _answer_all(self) -> None:
        with (self._folder / INPUT).open("rb") as file:
            lines = self._unanswered(lines_of(file, self._max_line_bytes))
            workers = [asyncio.ensure_future(self._answer_each(lines)) for _ in range(self._num_at_once)]
            try:
                await asyncio.gather(*workers)
            finally:
                await _cancel(*workers)

    def _unanswered(self, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        for number, line in lines:
            if not any(file is not None and file.digest_of(number) for file in (self._answers, self._failures)):
                yield number, line

    async def _answer_each(self, lines: Iterator[tuple[int, bytes]]) -> None:
        for number, line in lines:
            fields = read_request(line, self._row.endpoint)
            reply = await self._ask(self._row.endpoint, fields["body"])
            response = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
            self._write(number, line, fields["custom_id"], is_answer=reply.status == 200, response=response)

    async def _cut_short(self, reason: str) -> None:
        """What is answered stays, and every other line is told why it was not."""
        status = "expired" if reason == "expired" else "cancelled"
        self._row = await self._store.beat(self._row.id, self._runner, {})  # what a cancelled write may have changed
        if self._row.total:
            await self._open()
            with (self._folder / INPUT).open("rb") as file:
                for number, line in self._unanswered(lines_of(file, self._max_line_bytes)):
                    fields = read_request(line, self._row.endpoint)
                    error = {"code": f"batch_{status}", "message": _UNASKED[reason]}
                    self._write(number, line, fields["custom_id"], is_answer=False, error=error)
                    await asyncio.sleep(0)
        await self._end(status)

    def _write(
        self,
        number: int,
        line: bytes,
        custom_id: str,
        *,
        is_answer: bool,
        response: Json | None = None,
        error: Json | None = None,
    ) -> None:
        digest = hashlib.blake2s(line, digest_size=4).hexdigest()
        fields = {"id": f"batch_req_{number}_{digest}", "custom_id": custom_id, "response": response, "error": error}
        file = self._answers if is_answer else self._failures
        if file is not None:
            file.append(number, digest, json.dumps(fields, ensure_ascii=False).encode() + b"\n")

    async def _end(self, status: str) -> None:
        made = []
        values: Json = self._counts()
        for column, file, name in (
            ("output_file_id", self._answers, "output"),
            ("error_file_id", self._failures, "errors"),
        ):
            if file is None or not len(file):
                continue
            await asyncio.to_thread(file.put_in_order)
            new = await asyncio.to_thread(self._as_tenants, file.path, name)
            values[column] = new.id
            made.append(new)
        await self._store.end(self._row.id, self._runner, status, made, **values)

    def _as_tenants(self, path: Path, name: str) -> NewFile:
        """The same bytes in the folder of files; the same id however often it is done."""
        digest = hashlib.blake2s(f"{self._row.id} {name}".encode(), digest_size=16).hexdigest()
        file_id = f"file-{digest}"
        target = self._files.path_of(file_id)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # of a run that was killed here
        os.link(path, target)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return NewFile(
            file_id,
            self._row.tenant,
            "batch_output",
            f"{self._row.id}_{name}.jsonl",
            path.stat().st_size,
            self._row.output_expires_s,
        )

    async def _keep_beating(self, *, is_ending: bool = False) -> str:
        """Until there is a reason to stop, which it gives."""
        while True:
            await asyncio.sleep(self._beat_s)
            for file in (self._answers, self._failures):
                if file is not None:
                    await asyncio.to_thread(file.sync)
            row = await self._store.beat(self._row.id, self._runner, self._counts())
            if not is_ending and (reason := await self._reason_to_stop(row)):
                return reason

    async def _reason_to_stop(self, row: Row[Any]) -> str:
        if row.status == "cancelling":
            return "cancelled"
        if row.status != "finalizing" and self._clock() >= row.expires_at:
            return "expired"
        return "revoked" if await self._store.is_revoked(row) else ""

    def _close(self) -> None:
        for file in (self._answers, self._failures):
            if file is not None:
                file.close()

    def _counts(self) -> Json:
        if self._answers is None or self._failures is None:
            return {}
        return {"completed": len(self._answers), "failed": len(self._failures)}


def _open_both(folder: Path) -> tuple[AnswerFile, AnswerFile]:
    answers = AnswerFile(folder / _ANSWERS)
    try:
        return answers, AnswerFile(folder / _FAILURES)
    except BaseException:
        answers.close()
        raise


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
