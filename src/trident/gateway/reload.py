"""The configuration file, followed while the gateway runs: read again when it is rewritten, taken when it is right."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from trident.errors import TridentError
from trident.gateway.config import GatewayConfig
from trident.gateway.config_file import read_config
from trident.gateway.gateway import Gateway

_PERIOD_S = 1.0
_log = logging.getLogger(__name__)


class ConfigFile:
    """`follow` runs until it is cancelled. A file that is wrong is logged and what was before stays."""

    def __init__(self, path: Path, gateway: Gateway) -> None:
        self._path = path
        self._gateway = gateway
        self._seen = _mark_of(path)

    async def follow(self) -> None:
        """Looks once a second: a file that is mounted or replaced gives no events that could be relied on."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            if (mark := _mark_of(self._path)) != self._seen:
                self._seen = mark
                await self.take()

    async def take(self) -> None:
        """Read it now."""
        gateway = self._gateway
        try:
            config = await asyncio.to_thread(read_config, self._path)
            fixed = _fixed_changes(gateway.config, config)
            gateway.update(config.model_copy(update={name: getattr(gateway.config, name) for name in fixed}))
        except TridentError as exc:
            gateway.metrics.reloaded(is_good=False)
            _log.error("the new %s is refused, the one before stays: %s", self._path.name, exc.message)
            return
        gateway.metrics.reloaded(is_good=True)
        _log.info("the new %s is taken, with %d models", self._path.name, len(config.models))
        if fixed:
            _log.warning("changes of [%s] wait for the next start", "], [".join(fixed))


def _fixed_changes(before: GatewayConfig, after: GatewayConfig) -> list[str]:
    """Tables that cannot change while it runs, and did."""
    fixed = ("server", "auth", "cache", "collections", "ledger", "storage")
    return [name for name in fixed if getattr(before, name) != getattr(after, name)]


def _mark_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
