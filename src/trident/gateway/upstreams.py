"""The deployments as clients: one connection to each, opened when it is first asked, always over gRPC and streaming."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from trident.errors import SettingsError
from trident.gateway.config import Deployment
from trident_client import AsyncClient, Connection, Retry


class Upstreams:
    """By name. `update` follows the configuration; what it drops is closed when its last stream has ended."""

    def __init__(self, deployments: Mapping[str, Deployment]) -> None:
        self._deployments = dict(deployments)
        self._clients: dict[str, AsyncClient] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __getitem__(self, name: str) -> AsyncClient:
        """Raises KeyError: there is no such deployment."""
        if name not in self._clients:
            self._clients[name] = _connect(self._deployments[name])
        return self._clients[name]

    def update(self, deployments: Mapping[str, Deployment], grace_s: float) -> None:
        """Of those that changed or went, streams have `grace_s` to end."""
        for name in list(self._clients):
            if self._deployments[name] != deployments.get(name):
                task = asyncio.get_running_loop().create_task(_close_later(self._clients.pop(name), grace_s))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._deployments = dict(deployments)

    async def close(self) -> None:
        """Close every connection; streams that still run fail."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*[client.close() for client in self._clients.values()])
        self._clients.clear()


def _connect(deployment: Deployment) -> AsyncClient:
    return AsyncClient(
        deployment.url,
        model=deployment.ensemble,
        engine_model=deployment.engine_model,
        connection=Connection(api_key=_read_secret(deployment.api_key_file)),
        retry=Retry(0),  # where a request goes next is the router's to say
        metrics_url=deployment.metrics_url,
    )


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc


async def _close_later(client: AsyncClient, grace_s: float) -> None:
    try:
        await asyncio.sleep(grace_s)
    finally:
        await client.close()
