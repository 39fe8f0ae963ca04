"""One life of a server: the guard that holds it, from the start to the last trace removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trident.server import guard
from trident.server.drain import drain
from trident.server.launch import TRITON_EXIT_S, Launch, command, drain_file, engine_link, environment, make_home
from trident.server.models import model_processes
from trident.server.server_log import failure_reason

_GRACE_S = TRITON_EXIT_S + 1.0  # the server can hang after its own exit timeout (2.51)
_CLEANING_S = 5.0  # for the guard, after the grace


class ServerProcess:
    """A started server. `kill` or `stop` ends it; when this process dies, the guard does."""

    def __init__(self, launch: Launch) -> None:
        """Start the guard, which starts the server; returns at once."""
        self.launch = launch
        self.grpc_url = f"{launch.settings.loopback}:{launch.settings.grpc_port}"
        self.models: dict[int, str] = {}  # process id -> model name, see find_models
        self._log_offset = launch.log_path.stat().st_size if launch.log_path.exists() else 0
        home = make_home(launch.runtime)
        self.home = home  # gone when the server has ended
        engine_link(home).symlink_to(launch.engine_directory)
        self._drain_file = drain_file(home)
        self._guard = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(Path(guard.__file__))),
                *("--home", str(home), "--log", str(launch.log_path)),
                *("--shm-prefix", launch.shm_prefix, "--grace-s", str(_GRACE_S)),
                *("--", *command(launch, home)),
            ],
            env=environment(launch, home, os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal is for trident alone
        )
        self.guard_pid = self._guard.pid
        line = self._guard.stdout.readline() if self._guard.stdout else b""
        self.pid = int(line) if line else None  # None: the binary could not be started

    @property
    def is_alive(self) -> bool:
        """Whether the server runs; false only after its traces are removed."""
        return self._guard.poll() is None

    def find_models(self) -> None:
        """Look up the model processes, once they are loaded, for those who watch over them."""
        self.models = self.model_processes()

    def model_processes(self) -> dict[int, str]:
        """Process id -> model name of the model processes that live now."""
        return model_processes(self.pid) if self.pid else {}

    def failure_reason(self) -> str:
        """Why this life ended, in one line from its log."""
        return failure_reason(self.launch.log_path, self._log_offset)

    def stop(self) -> bool:
        """Take nothing new, finish what runs within the exit timeout, then end; removes every trace, the log too.

        False: some requests had not ended and were cut off.
        """
        is_loaded = bool(self.models)
        is_drained = not is_loaded or drain(self.launch.settings, self._drain_file, lambda: self.is_alive)
        self._close(b"")
        return is_drained

    def kill(self) -> None:
        """End at once: open streams break with an error. Removes every trace but the log."""
        self._close(guard.KILL)

    def _close(self, order: bytes) -> None:
        if self._guard.stdin is None or self._guard.stdin.closed:
            return
        try:
            self._guard.stdin.write(order)
            self._guard.stdin.close()
        except BrokenPipeError:  # it has ended by itself
            pass
        try:
            self._guard.wait(_GRACE_S + _CLEANING_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()  # the kernel then kills the server: PR_SET_PDEATHSIG in guard.py
            self._guard.wait()
        if self._guard.stdout:
            self._guard.stdout.close()
