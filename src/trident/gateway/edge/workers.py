"""The gateway's process: it opens the socket, and serves by itself or through several workers that it watches.

Workers accept from one socket, so that connections wait for whoever is left when one of them dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from trident.errors import HostError, TridentError
from trident.gateway.config import GatewayConfig

_BACKLOG = 2048
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# gRPC reads it when it is imported. Its event engine hands every message from thread to thread before Python gets it,
# which takes a third of the CPU of a streamed response.
_GRPC_EXPERIMENTS = ("GRPC_EXPERIMENTS", "-event_engine_client")
_TICK_S = 0.2


def serve(config: GatewayConfig, path: Path | None, say: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT. `path`: the file to follow; `say` is told the port when requests are answered.

    Raises:
        HostError: the address is not to be had, or a worker cannot start.
    """
    os.environ.setdefault(*_GRPC_EXPERIMENTS)
    with contextlib.closing(_open_listener(config)) as listener:
        port = listener.getsockname()[1]
        if config.server.workers > 1:
            with tempfile.TemporaryDirectory(prefix="trident-metrics-") as folder:
                os.environ[_METRICS_FOLDER] = folder
                _Workers(config, path, listener).run(lambda: say(port))
        else:
            from trident.gateway.edge.server import run_worker  # noqa: PLC0415 - workers alone need the application

            run_worker(config, path, listener, lambda: say(port))


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection  # says when it serves; ends when either side does
    is_serving: bool = False


class _Workers:
    """Started, started again when they die, and stopped together."""

    def __init__(self, config: GatewayConfig, path: Path | None, listener: socket.socket) -> None:
        self._arguments = (config, path, listener)
        self._listener = listener
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._signals: deque[int] = deque()
        self._is_stopping = False

    def run(self, say: Callable[[], None]) -> None:
        """Until all have ended after a signal; `say` is called when all serve for the first time."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._signals.append(number))
        has_said = False
        try:
            for _ in range(self._arguments[0].server.workers):
                self._start()
            while self._workers:
                while self._signals:
                    self._pass_on(self._signals.popleft())
                self._look()
                if not has_said and not self._is_stopping and all(worker.is_serving for worker in self._workers):
                    has_said = True
                    say()
                wait([worker.process.sentinel for worker in self._workers], _TICK_S)
        finally:
            for worker in self._workers:
                worker.process.terminate()

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(*self._arguments, theirs))
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _look(self) -> None:
        """Who serves by now, and who has ended."""
        for worker in list(self._workers):
            with contextlib.suppress(EOFError, OSError):
                if not worker.is_serving and worker.connection.poll():
                    worker.is_serving = bool(worker.connection.recv())
            if not worker.process.is_alive():
                self._workers.remove(worker)
                self._ended(worker)

    def _ended(self, worker: _Worker) -> None:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - reads the environment

        mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]
        if self._is_stopping:
            return
        if not worker.is_serving:
            raise HostError("a worker could not start; what it wrote above says why")
        self._start()

    def _pass_on(self, number: int) -> None:
        if number != signal.SIGHUP:
            self._is_stopping = True
            self._listener.close()  # the workers' own copies stay open as long as they want connections
            number = signal.SIGTERM
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)


def _work(config: GatewayConfig, path: Path | None, listener: socket.socket, supervisor: Connection) -> None:
    """In a process of its own, which ends with the one that started it."""
    from trident.gateway.edge.server import run_worker  # noqa: PLC0415 - in the worker

    threading.Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    try:
        run_worker(config, path, listener, lambda: supervisor.send(True))
    except TridentError as exc:
        sys.exit(f"trident: {exc.message}")


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
