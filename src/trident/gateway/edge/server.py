"""One worker: uvicorn around the application on a socket that is open already, and its end, which loses no stream."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from trident.gateway.app import create_app
from trident.gateway.config import GatewayConfig
from trident.gateway.edge.protocol import ConnectionBounds, bounded_protocol
from trident.gateway.gateway import Gateway
from trident.gateway.logs import start_logging
from trident.gateway.reload import ConfigFile

_log = logging.getLogger(__name__)
_uvicorn_log = logging.getLogger("uvicorn.error")


class DrainingServer(uvicorn.Server):
    """SIGTERM: not ready, but serving, for `lameduck_s`; then no new connection, and running requests have `drain_s`.

    A second signal skips the first part, a third SIGINT the second. The process ends with status 0.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        gateway: Gateway,
        config_file: ConfigFile | None,
        on_started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._config_file = config_file
        self._on_started = on_started
        self._stop_at = math.inf
        self._reading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's
        """As a signal's handler."""
        if not self._gateway.is_draining:
            self._gateway.is_draining = True
            self._stop_at = time.monotonic() + self._gateway.config.server.lameduck_s
        else:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self._stop_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Also follows SIGHUP: the configuration is read at once. Raises what kept the gateway from starting."""
        _uvicorn_log.addFilter(lambda _: self._gateway.start_failure is None)
        try:
            await super().startup(sockets)
        except SystemExit:
            if self._gateway.start_failure is not None:
                raise self._gateway.start_failure from None
            raise
        if self._config_file is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._read_again, self._config_file)
        _leave_to_the_living()
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if time.monotonic() >= self._stop_at and not self.should_exit:
            self.should_exit = True
            self._gateway.has_stopped_accepting.set()
            _log.info("stopping; %d requests run", len(self.server_state.tasks))
        return await super().on_tick(counter)

    def _read_again(self, config_file: ConfigFile) -> None:
        self._reading = asyncio.create_task(config_file.take())


def run_worker(
    config: GatewayConfig, path: Path | None, listener: socket.socket, on_started: Callable[[], None]
) -> None:
    """Serve on `listener` until SIGTERM or SIGINT; `path`: the file to follow."""
    start_logging(is_json=config.server.json_logs)
    _allow_many_files()
    gateway = Gateway(config)
    config_file = None if path is None else ConfigFile(path, gateway)
    server = DrainingServer(_uvicorn_config(config, gateway, config_file), gateway, config_file, on_started)
    server.run([listener])


def _uvicorn_config(config: GatewayConfig, gateway: Gateway, config_file: ConfigFile | None) -> uvicorn.Config:
    server = config.server
    return uvicorn.Config(
        create_app(gateway, config_file),
        loop="uvloop",
        http=bounded_protocol(ConnectionBounds(server.max_connections, server.body_timeout_s)),
        ws="none",
        lifespan="on",
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        timeout_keep_alive=math.ceil(server.idle_timeout_s),
        timeout_graceful_shutdown=math.ceil(server.drain_s),
        proxy_headers=bool(server.trusted_proxies),
        forwarded_allow_ips=list(server.trusted_proxies),
        server_header=False,
        access_log=False,
        log_config=None,
    )


def _leave_to_the_living() -> None:
    """What is there by now lives as long as the process: searched for garbage, it took a third of a stream's CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _allow_many_files() -> None:
    """A connection is an open file, and the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
