"""The ledger as an observer of exchanges: each outcome to the spool at once, from there to the database by a thread.

Serving never waits for the database. While it is away the spool grows to its bound; what is beyond is lost, counted and
said. Where the disk is full, rows wait in memory, as many as `_MAX_IN_MEMORY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from trident.errors import SettingsError, TridentError
from trident.gateway.asked import Asked, Outcome
from trident.gateway.config import Deployment, LedgerSettings
from trident.gateway.database import Database
from trident.gateway.ledger.entry import content_of, row_of
from trident.gateway.ledger.redaction import redactor
from trident.gateway.ledger.spool import Spool
from trident.gateway.ledger.tables import add_content, add_requests, forget

_FLUSH_S = 0.25
_MAX_WAIT_S = 5.0  # between two attempts at a database that is away
_MAX_IN_MEMORY = 20_000
_SWEEP_S = 3600.0
_DAY_S = 86_400.0

_log = logging.getLogger(__name__)


class Ledger:
    """Of one worker process. `start` before the first request; `close` brings what is left to the database."""

    def __init__(
        self,
        settings: LedgerSettings,
        folder: Path,
        database: Database,
        deployments: Mapping[str, Deployment],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder`: of the spool, which all processes on one database may share."""
        self.num_lost = 0  # rows that neither the disk nor the memory could hold
        self._settings = settings
        self._folder = folder
        self._database = database
        self._deployments = deployments
        self._clock = clock
        self._spool: Spool | None = None
        self._in_memory: deque[bytes] = deque()
        self._redact = redactor() if settings.content == "redacted" else None
        self._redacting = ThreadPoolExecutor(1, "redaction")
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the spool, and go on with what an earlier process left there.

        Raises:
            SettingsError: its folder cannot be made.
        """
        try:
            self._spool = Spool(self._folder, self._settings.spool_bytes)
        except OSError as exc:
            raise SettingsError(f"server.data: cannot make {self._folder}: {exc.strerror}") from exc
        self._task = asyncio.create_task(self._keep_flushing())

    def update(self, deployments: Mapping[str, Deployment]) -> None:
        """The file was rewritten."""
        self._deployments = deployments

    def began(self, asked: Asked) -> None:
        """Nothing is written before it is over."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges; about 30 us."""
        row = row_of(outcome, self._deployments.get(outcome.deployment))
        self._write({"row": row})
        if self._settings.content == "never":
            return
        request_id = outcome.asked.request_id
        prompt, answer = content_of(outcome)
        if self._redact is None:
            self._write({"content": {"request_id": request_id, "prompt": prompt, "answer": answer}})
        else:
            loop = asyncio.get_running_loop()
            self._redacting.submit(self._redact_content, loop, request_id, prompt, answer)

    async def flush(self) -> None:
        """Bring all that is spooled to the database now.

        Raises:
            UnavailableError: it does not answer; nothing is lost.
        """
        async with self._flushing:
            if self._spool is not None:
                self._spool.cut()
                for segment in await asyncio.to_thread(self._spool.segments):  # one at a time: all may be much
                    lines = await asyncio.to_thread(self._spool.read, segment)
                    if lines is not None:
                        await self._bring(lines)
                        self._spool.remove(segment)
            while self._in_memory:
                lines = list(self._in_memory)
                await self._bring(lines)
                for _ in lines:
                    self._in_memory.popleft()

    async def close(self) -> None:
        """Bring what is left; what the database does not take stays in the spool for the next start."""
        await asyncio.to_thread(self._redacting.shutdown)
        await asyncio.sleep(0)  # what it handed over last
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(TridentError):
                await self.flush()

    async def _keep_flushing(self) -> None:
        wait_s, swept_at = _FLUSH_S, -_SWEEP_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.flush()
                if time.monotonic() - swept_at >= _SWEEP_S:
                    await self._sweep()
                    swept_at = time.monotonic()
                wait_s = _FLUSH_S
            except TridentError as exc:
                _log.warning("the ledger waits in its spool: %s", exc.message)
                wait_s = min(_MAX_WAIT_S, 2 * wait_s)
            except OSError as exc:
                _log.warning("the ledger's spool cannot be read: %s", exc)
                wait_s = _MAX_WAIT_S
            except Exception:  # noqa: BLE001 - whatever the database says of a row, those after it are still to come
                _log.exception("the ledger cannot bring its spool to the database; it tries again")
                wait_s = _MAX_WAIT_S

    async def _bring(self, lines: list[bytes]) -> None:
        parsed = [orjson.loads(line) for line in lines]
        rows = [each["row"] for each in parsed if "row" in each]
        contents = [each["content"] for each in parsed if "content" in each]
        if rows:
            await self._database.run(lambda connection: add_requests(connection, rows))
        if contents:
            await self._database.run(lambda connection: add_content(connection, contents))

    async def _sweep(self) -> None:
        now = self._clock()
        rows_before = now - self._settings.days * _DAY_S
        content_before = now - self._settings.content_days * _DAY_S
        await self._database.run(lambda connection: forget(connection, rows_before, content_before))

    def _write(self, entry: dict[str, Any]) -> None:
        line = orjson.dumps(entry)
        try:
            if self._spool is not None and self._spool.append(line):
                return
        except OSError as exc:
            _log.warning("the ledger's spool cannot be written: %s", exc)
        if len(self._in_memory) < _MAX_IN_MEMORY:
            self._in_memory.append(line)
        else:
            self.num_lost += 1
            if self.num_lost == 1 or self.num_lost % 1000 == 0:
                _log.error("the ledger has lost %d rows: the spool is full and the database is away", self.num_lost)

    def _redact_content(self, loop: asyncio.AbstractEventLoop, request_id: str, prompt: str, answer: str) -> None:
        assert self._redact is not None  # noqa: S101 - for the type checker
        content = {"request_id": request_id, "prompt": self._redact(prompt), "answer": self._redact(answer)}
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._write, {"content": content})
