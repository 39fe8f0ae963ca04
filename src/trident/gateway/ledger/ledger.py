"""The ledger as an observer of exchanges: each outcome to the backlog at once, from there to the database by a task.

Serving never waits for the database: see `backlog.py` for what happens while it is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from trident.errors import SettingsError, TridentError
from trident.gateway.asked import Asked, Outcome
from trident.gateway.comparison import Comparison
from trident.gateway.config import Deployment, LedgerSettings
from trident.gateway.database import LONG_S, Database
from trident.gateway.ledger.backlog import Backlog, Kind
from trident.gateway.ledger.entry import comparison_row_of, content_of, failure_rows_of, row_of
from trident.gateway.ledger.redaction import Redaction, redactor
from trident.gateway.ledger.tables import KINDS, Row, add, forget

_FLUSH_S = 0.25
_MAX_WAIT_S = 5.0  # between two attempts at a database that is away
_SWEEP_S = 3600.0
_DAY_S = 86_400.0
_MAX_VERSION_CHARS = 256  # as the table has them

_log = logging.getLogger(__name__)


class Ledger:
    """Of one worker process. `start` before the first request; `close` brings what is left to the database."""

    def __init__(
        self,
        settings: LedgerSettings,
        folder: Path,
        database: Database,
        deployments: Mapping[str, Deployment],
        lost: Callable[[Kind], None] = lambda _: None,
        served_at: Callable[[str], str] = lambda _: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder`: of the spool, which all processes on one database may share.

        `lost` is told of what had no room; `served_at`: what runs at a deployment of which the file says no version.
        """
        self._settings = settings
        self._folder = folder
        self._database = database
        self._deployments = deployments
        self._lost = lost
        self._served_at = served_at
        self._clock = clock
        self._backlog: Backlog | None = None
        self._redaction = Redaction(redactor()) if settings.content == "redacted" else None
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def num_lost(self) -> int:
        """Facts that neither the disk nor the memory could hold."""
        return 0 if self._backlog is None else self._backlog.num_lost["fact"]

    async def start(self) -> None:
        """Open the spool, and go on with what an earlier process left there.

        Raises:
            SettingsError: its folder cannot be made.
        """
        try:
            self._backlog = Backlog(self._folder, self._settings.spool_bytes, self._lost)
        except OSError as exc:
            raise SettingsError(f"server.data: cannot make {self._folder}: {exc.strerror}") from exc
        self._task = asyncio.create_task(self._keep_flushing())

    def update(self, deployments: Mapping[str, Deployment]) -> None:
        """The file was rewritten."""
        self._deployments = deployments

    def version_at(self, deployment: str) -> str:
        """Of what runs there: as the file says, else as it says itself; empty: not known."""
        known = self._deployments.get(deployment)
        return "" if known is None else (known.version or self._served_at(deployment))[:_MAX_VERSION_CHARS]

    def began(self, asked: Asked) -> None:
        """Nothing is written before it is over."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges; about 30 us."""
        entry: dict[str, Any] = {
            "row": row_of(outcome, self._deployments.get(outcome.deployment), self.version_at(outcome.deployment))
        }
        if outcome.failures:
            entry["failures"] = failure_rows_of(outcome, self.version_at)
        self._write(entry)
        if self._settings.content == "never":
            return
        request_id, texts = outcome.asked.request_id, content_of(outcome)
        if self._redaction is None:
            self._keep(request_id, texts)
        else:
            self._redaction.submit(texts, lambda kept: self._keep(request_id, kept))

    def compared(self, outcome: Outcome, shadow: str, comparison: Comparison | None) -> None:
        """An answer and its copy's; None: no copy was sent, because too many ran or there was no place."""
        self._write({"comparison": comparison_row_of(outcome, shadow, comparison, self.version_at)})

    async def flush(self) -> None:
        """Bring all that was written to the database now.

        Raises:
            UnavailableError: it does not answer; nothing is lost.
        """
        async with self._flushing:
            if self._backlog is not None:
                await self._backlog.bring(self._bring)

    async def close(self) -> None:
        """Bring what is left; what the database does not take stays in the spool for the next start."""
        if self._redaction is not None:
            await self._redaction.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._bring_the_rest()

    async def _bring_the_rest(self) -> None:
        try:
            await self.flush()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the rest of the gateway is still to be closed
            _log.warning("the ledger leaves what the database has not taken in its spool: %s", exc)
        if self._backlog is not None:
            self._backlog.settle()

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

    async def _bring(self, lines: Sequence[bytes]) -> None:
        found: dict[str, list[Row]] = {kind: [] for kind in KINDS}
        for line in lines:
            for kind, held in orjson.loads(line).items():
                if kind in found:  # a later version may have written more
                    found[kind] += held if isinstance(held, list) else [held]
        await self._database.run(lambda connection: add(connection, found), LONG_S)

    async def _sweep(self) -> None:
        now = self._clock()
        rows_before = now - self._settings.days * _DAY_S
        content_before = now - self._settings.content_days * _DAY_S
        await self._database.run(lambda connection: forget(connection, rows_before, content_before), LONG_S)

    def _keep(self, request_id: str, texts: Sequence[str] | None) -> None:
        if texts is None:
            if self._backlog is not None:
                self._backlog.lose("text")
            return
        prompt, answer = texts
        self._write({"content": {"request_id": request_id, "prompt": prompt, "answer": answer}}, "text")

    def _write(self, entry: dict[str, Any], kind: Kind = "fact") -> None:
        if self._backlog is None:
            raise RuntimeError("the ledger was not started")
        self._backlog.put(orjson.dumps(entry), kind)
