"""A peer's server: found, started on a free port, waited for, ended with everything that it started.

It knows nothing of what is measured.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from trident.errors import UnavailableError
from trident.server.ports import free_ports

_READY_TIMEOUT_S = 600.0  # vLLM compiles the model at its first start
_POLL_S = 0.25
_GRACE_S = 10.0


@dataclass(frozen=True)
class Peer:
    """A server that says that it is well and answers OpenAI's API, and how to ask it."""

    name: str
    command: tuple[str, ...]  # the port comes after the last argument
    fields: Mapping[str, Any]  # of each request's body: greedy, EOS ignored, usage wanted
    environ: Mapping[str, str] = field(default_factory=dict)  # beside the process's own
    health: str = "/health"
    port_variable: str = ""  # of the environment, which says the port instead of the last argument


class PeerProcess:
    """A started peer; a context manager that ends it."""

    def __init__(self, peer: Peer, log_path: Path) -> None:
        """Start it, in a process group of its own; returns at once.

        Raises:
            UnavailableError: the program cannot be started.
        """
        self.peer = peer
        self.port = free_ports()["http_port"]
        self._log_path = log_path
        try:
            with log_path.open("wb") as log:
                port = str(self.port)
                self._process = subprocess.Popen(
                    [*peer.command, *(() if peer.port_variable else (port,))],
                    env={**os.environ, **peer.environ, **({peer.port_variable: port} if peer.port_variable else {})},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as exc:
            raise UnavailableError(f"{peer.command[0]} cannot be started: {exc.strerror}") from exc
        self.pid = self._process.pid

    def wait_until_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Block until `health` says 200.

        Raises:
            UnavailableError: it ended, or did not say so in time; with the last line that it wrote.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._is_healthy():
            if (status := self._process.poll()) is not None:
                raise UnavailableError(f"it ended with status {status} before it answered: {self.last_line()}")
            if time.monotonic() > deadline_s:
                raise UnavailableError(f"no answer on its port within {timeout_s:g} s: {self.last_line()}")
            time.sleep(_POLL_S)

    def last_line(self) -> str:
        """What it wrote last, for a message."""
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def end(self) -> None:
        """End its whole process group, by force after a grace; idempotent."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._signal(signal.SIGKILL)  # also what outlived its parent
        self._process.wait()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.end()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(self.pid, number)

    def _is_healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.peer.health)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
