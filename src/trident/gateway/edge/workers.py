"""The gateway's process: it opens the socket, and serves by itself or through several workers that it watches.

Workers accept from one socket, so that connections wait for whoever is left when one of them dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from trident.errors import EngineError, HostError
from trident.gateway.config import GatewayConfig

_BACKLOG = 2048
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_TICK_S = 0.2
_EARLY_S = 5.0  # a worker that ends within it met what all the others would meet


def serve(config: GatewayConfig, path: Path | None, say: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT. `path`: the file to follow; `say` is told the port when requests are answered.

    Raises:
        HostError: the address is not to be had.
        EngineError: a worker cannot start.
    """
    with contextlib.closing(_open_listener(config)) as listener:
        port = listener.getsockname()[1]
        if config.server.workers > 1:
            with tempfile.TemporaryDirectory(prefix="trident-metrics-") as folder:
                os.environ[_METRICS_FOLDER] = folder
                _Workers(config, path, listener).run(lambda: say(port))
        else:
            from trident.gateway.edge.server import run_worker  # noqa: PLC0415 - workers alone need the application

            run_worker(config, path, listener, lambda: say(port))


class _Workers:
    """Started, started again when they die, and stopped together."""

    def __init__(self, config: GatewayConfig, path: Path | None, listener: socket.socket) -> None:
        self._arguments = (config, path, listener)
        self._listener = listener
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[BaseProcess, tuple[Connection, float]] = {}
        self._signals: deque[int] = deque()
        self._is_stopping = False

    def run(self, say: Callable[[], None]) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._signals.append(number))
        try:
            for _ in range(self._arguments[0].server.workers):
                self._start()
            waiting = [connection for connection, _ in self._running.values()]
            while self._running:
                while self._signals:
                    self._pass_on(self._signals.popleft())
                for process in [process for process in self._running if not process.is_alive()]:
                    self._ended(process)
                if waiting and (ready := wait(waiting, _TICK_S)):
                    waiting = [connection for connection in waiting if connection not in ready]
                    if not waiting and not self._is_stopping:
                        say()
                else:
                    wait([process.sentinel for process in self._running], _TICK_S)
        finally:
            for process in self._running:
                process.terminate()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(*self._arguments, theirs))
        process.start()
        theirs.close()
        self._running[process] = (ours, time.monotonic())

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._is_stopping = True
            self._listener.close()  # the workers' own copies stay open as long as they want connections
            number = signal.SIGTERM
        for process in self._running:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    def _ended(self, process: BaseProcess) -> None:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - reads the environment

        _, started_at = self._running.pop(process)
        mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        if self._is_stopping:
            return
        if time.monotonic() - started_at < _EARLY_S:
            raise EngineError(f"a worker ended at once with status {process.exitcode}; what it wrote says why")
        self._start()


def _work(config: GatewayConfig, path: Path | None, listener: socket.socket, supervisor: Connection) -> None:
    """In a process of its own, which ends with the one that started it."""
    from trident.gateway.edge.server import run_worker  # noqa: PLC0415 - in the worker

    threading.Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    run_worker(config, path, listener, lambda: supervisor.send(None))


def _end_with(supervisor: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        supervisor.recv()
    os.kill(os.getpid(), signal.SIGTERM)


def _open_listener(config: GatewayConfig) -> socket.socket:
    host, port = config.server.host, config.server.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)  # by now: clients wait while the workers start
        except BaseException:
            listener.close()
            raise
    except OSError as exc:
        raise HostError(f"cannot listen on {host}:{port}: {exc.strerror}; choose another server.port") from exc
    return listener
