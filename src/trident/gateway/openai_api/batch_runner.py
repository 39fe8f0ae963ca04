"""Runs the batches that nobody else runs: looks for them, claims them, and goes on with those whose runner has died.

Of every worker there is one; the database says who has what (`batch_store.py`). Where more wait than may run, a tenant
with several makes room for one with none, and a batch that waits for its tenant's limits makes room for any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from starlette.types import ASGIApp

from trident.errors import TridentError
from trident.gateway.config import GatewayConfig
from trident.gateway.openai_api.batch_client import BatchClient
from trident.gateway.openai_api.batch_object import identity_of_batch
from trident.gateway.openai_api.batch_run import BatchRun
from trident.gateway.openai_api.batch_store import BatchStore, LeaseLostError
from trident.gateway.openai_api.file_store import FileStore

PRIORITY = 5  # the last of the engine's: whoever waits for an answer goes before
_BEATS_OF_LEASE = 4
_MAX_BEAT_S = 1.0  # clients look how far a batch is
_MIN_REST_S = 5.0  # for which it is worth stopping a batch that waits
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    tenant: str
    client: BatchClient
    task: asyncio.Task[None]


class BatchRunner:
    """`start` when the application is ready; `close` before it ends, so that another goes on at once."""

    def __init__(self, app: ASGIApp, config: GatewayConfig, store: BatchStore, files: FileStore) -> None:
        self._app = app
        self._config = config
        self._store = store
        self._files = files
        self._name = uuid4().hex
        self._room = asyncio.Semaphore(config.storage.batch_concurrency)
        self._beat_s = min(_MAX_BEAT_S, config.storage.batch_lease_s / _BEATS_OF_LEASE)
        self._runs: dict[str, _Running] = {}  # by batch, the latest last
        self._rests: dict[str, float] = {}  # until when a batch that made room waits anyway
        self._seen: dict[str, tuple[Any, float]] = {}  # (runner, beat) of the others' batches, and since when
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for batches."""
        self._loop = asyncio.ensure_future(self._look())

    async def close(self) -> None:
        """Stop all runs where they are, and give their batches back."""
        tasks = [run.task for run in self._runs.values()]
        if self._loop is not None:
            tasks.append(self._loop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TridentError):
            await self._store.release(self._name)

    async def _look(self) -> None:
        while True:
            try:
                await self._claim()
            except TridentError as exc:
                _log.warning("batches: %s", exc.message)
            await asyncio.sleep(self._beat_s)

    async def _claim(self) -> None:
        rows = await self._store.unfinished()
        for known in (self._seen, self._rests):
            for batch_id in known.keys() - {row.id for row in rows}:
                del known[batch_id]
        free = [row for row in rows if row.id not in self._runs and self._is_free(row)]
        while free:
            running = Counter(run.tenant for run in self._runs.values())
            row = min(free, key=lambda each: running[each.tenant])  # of equals the oldest, which comes first
            if len(self._runs) >= self._config.storage.max_batches and not await self._make_room(row.tenant, running):
                return
            free.remove(row)
            claimed = await self._store.claim(row, self._name)
            if claimed is not None:
                self._start(claimed)

    def _start(self, row: Row[Any]) -> None:
        client = BatchClient(self._app, identity_of_batch(row, PRIORITY), self._room)
        self._runs[row.id] = _Running(row.tenant, client, asyncio.ensure_future(self._run(row, client)))

    async def _make_room(self, tenant: str, running: Counter[str]) -> bool:
        """Stop another tenant's batch for one of this tenant's, if one can wait; what it has is kept."""
        rests = {batch_id: run.client.rest_s for batch_id, run in self._runs.items() if run.tenant != tenant}
        if not rests:
            return False
        batch_id = max(rests, key=lambda each: rests[each])
        if rests[batch_id] < _MIN_REST_S:
            greediest, most = running.most_common(1)[0]
            if most <= running[tenant] + 1:
                return False
            batch_id = [each for each, run in self._runs.items() if run.tenant == greediest][-1]
        self._rests[batch_id] = time.monotonic() + rests[batch_id]
        task = self._runs[batch_id].task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._runs.pop(batch_id, None)  # of one that had not begun
        await self._store.release(self._name, batch_id)
        return True

    def _is_free(self, row: Row[Any]) -> bool:
        """Nobody has it, or who has it has been silent for the time of a lease, as seen from here."""
        now = time.monotonic()
        if row.runner is None:
            return self._rests.get(row.id, now) <= now
        state, since = self._seen.get(row.id, (None, now))
        if state != (row.runner, row.beat):
            state, since = (row.runner, row.beat), now
        self._seen[row.id] = (state, since)
        return now - since >= self._config.storage.batch_lease_s

    async def _run(self, row: Row[Any], client: BatchClient) -> None:
        storage, folder = self._config.storage, work_folder(self._config.server.data, row.id)
        run = BatchRun(
            row, self._name, folder, store=self._store, files=self._files, ask=client.ask,
            num_at_once=storage.batch_concurrency,
            max_line_bytes=self._config.server.max_body_bytes, beat_s=self._beat_s,
        )  # fmt: skip
        try:
            await run.run()
        except LeaseLostError:
            _log.warning("batch %s is another's now", row.id)
        except TridentError as exc:
            _log.warning("batch %s stopped and will be taken up again: %s", row.id, exc.message)
        except Exception:  # noqa: BLE001 - one batch, whatever is wrong with it, stops no other
            _log.exception("batch %s stopped and will be taken up again", row.id)
        else:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        finally:
            self._runs.pop(row.id, None)
            await client.close()


def work_folder(data: Path, batch_id: str) -> Path:
    """Of a batch, while it runs."""
    return data / "batches" / batch_id
