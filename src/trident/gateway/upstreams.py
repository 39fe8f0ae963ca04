"""The deployments as clients: one connection to each, opened when it is first asked, always over gRPC and streaming."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trident.errors import SettingsError, TridentError, UnavailableError
from trident.gateway.asked import Asked
from trident.gateway.config import Deployment
from trident.gateway.tenant_salt import TenantSalts
from trident_client import AsyncClient, Connection, Retry
from trident_client.sampling import Sampling


class _Upstream(NamedTuple):
    client: AsyncClient
    address: tuple[str | None, ...]  # and the secret, by which it is reached


class Upstreams:
    """By name. `update` follows the configuration; what it drops is closed when its last stream must have ended.

    Raises:
        SettingsError: a key file cannot be read, or an address is none.
    """

    def __init__(self, deployments: Mapping[str, Deployment], salts: TenantSalts) -> None:
        self._upstreams = {name: _connect(deployment, None) for name, deployment in deployments.items()}
        self._isolating = _isolating(deployments)
        self._salts = salts
        self._closing: set[asyncio.Task[None]] = set()
        self._cancelling: set[asyncio.Task[None]] = set()

    def __getitem__(self, name: str) -> AsyncClient:
        """Raises UnavailableError: there is no such deployment any more."""
        upstream = self._upstreams.get(name)
        if upstream is None:
            raise UnavailableError(f"deployment {name} is no longer in the file")
        return upstream.client

    def sampling_at(self, name: str, asked: Asked) -> Sampling:
        """As the deployment is to get it: salted where it keeps tenants apart. Errors as of `TenantSalts.salted`."""
        if name not in self._isolating:
            return asked.sampling
        return self._salts.salted(asked.sampling, asked.identity.tenant)

    def cancel_soon(self, name: str, request_id: str) -> None:
        """End a request that may still run there for nobody; whether its server is still there does not matter."""
        upstream = self._upstreams.get(name)
        if upstream is not None:
            task = asyncio.get_running_loop().create_task(_cancel(upstream.client, request_id))
            self._cancelling.add(task)
            task.add_done_callback(self._cancelling.discard)

    def update(self, deployments: Mapping[str, Deployment], grace_s: float) -> None:
        """Of those that moved or went, streams have `grace_s` to end; raises SettingsError and changes nothing."""
        before = self._upstreams
        self._upstreams = {name: _connect(deployment, before.get(name)) for name, deployment in deployments.items()}
        self._isolating = _isolating(deployments)
        for name, upstream in before.items():
            if self._upstreams.get(name) is not upstream:
                task = asyncio.get_running_loop().create_task(_close_later(upstream.client, grace_s))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection; streams that still run fail."""
        closing = [*self._closing, *self._cancelling]
        for task in closing:
            task.cancel()
        clients = [upstream.client.close() for upstream in self._upstreams.values()]
        self._upstreams = {}
        await asyncio.gather(*clients, *closing, return_exceptions=True)


def _isolating(deployments: Mapping[str, Deployment]) -> frozenset[str]:
    return frozenset(name for name, deployment in deployments.items() if deployment.isolate_tenants)


def _connect(deployment: Deployment, known: _Upstream | None) -> _Upstream:
    secret = _read_secret(deployment.api_key_file)
    address = (*deployment.address(), secret)
    if known is not None and known.address == address:
        return known
    client = AsyncClient(
        deployment.url,
        model=deployment.ensemble,
        engine_model=deployment.engine_model,
        connection=Connection(api_key=secret),
        retry=Retry(0),  # where a request goes next is the router's to say
        metrics_url=deployment.metrics_url,
    )
    return _Upstream(client, address)


def _read_secret(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"cannot read {path}: it holds no text") from exc


async def _cancel(client: AsyncClient, request_id: str) -> None:
    with contextlib.suppress(TridentError):
        await client.cancel(request_id)


async def _close_later(client: AsyncClient, grace_s: float) -> None:
    try:
        await asyncio.sleep(grace_s)
    finally:
        await client.close()
