"""What clients leave with the gateway, as one part of it: responses, files and batches, their runner and the sweep."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from pathlib import Path

from starlette.types import ASGIApp

from trident.errors import TridentError
from trident.gateway.config import GatewayConfig
from trident.gateway.database import Database
from trident.gateway.openai_api.batch_runner import BatchRunner, work_folder
from trident.gateway.openai_api.batch_store import BatchStore
from trident.gateway.openai_api.file_store import DAY_S, FileStore
from trident.gateway.openai_api.response_store import ResponseStore

_SWEEP_S = 3600.0
_log = logging.getLogger(__name__)


class StoredObjects:
    """`start` when the application can be asked; `close` before the gateway's other parts."""

    def __init__(self, config: GatewayConfig, database: Database) -> None:
        storage = config.storage
        self._config = config
        self.files = FileStore(database, config.server.data / "files", storage)
        self.batches = BatchStore(database, self.files, storage)
        self.responses = ResponseStore(database, storage)
        self._runner: BatchRunner | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def start(self, app: ASGIApp) -> None:
        """Run batches, whose lines are asked of `app`, and delete what has expired."""
        self._runner = BatchRunner(app, self._config, self.batches, self.files)
        self._runner.start()
        self._sweeping = asyncio.ensure_future(self._keep_sweeping())

    async def close(self) -> None:
        """Give running batches back, for another worker or the next start."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        if self._runner is not None:
            await self._runner.close()

    async def sweep(self) -> None:
        """Delete what has expired, and what crashes have left."""
        await self.responses.sweep()
        await self.batches.sweep()
        await self.files.sweep()
        for folder in await asyncio.to_thread(_folders_in, self._config.server.data):
            has_ended = await self.batches.has_ended(folder.name)
            if has_ended or (has_ended is None and await asyncio.to_thread(_is_old, folder)):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except (TridentError, OSError) as exc:
                _log.warning("nothing was swept: %s", exc)
            await asyncio.sleep(_SWEEP_S)


def _folders_in(data: Path) -> list[Path]:
    folder = work_folder(data, "x").parent
    return list(folder.iterdir()) if folder.is_dir() else []


def _is_old(folder: Path) -> bool:
    """A batch's folder is made a moment before its row."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime > DAY_S
    return False
