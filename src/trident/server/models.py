"""Which process runs which model, read from /proc."""

from __future__ import annotations

from pathlib import Path

from trident.server.host import STUB


def model_processes(server_pid: int) -> dict[int, str]:
    """Process id -> model name, for every live Python model of the server `server_pid`.

    Of a server that mpirun started too: `server_pid` is then mpirun's. The backend starts
    `stub <repository>/<model>/<version>/model.py <shm region> ...`; a model with several instances has several of them.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            if Path(arguments[0]).name == STUB and server_pid in _ancestors(int(entry.name)):
                found[int(entry.name)] = Path(arguments[1]).parents[1].name
        except OSError:  # it ended while we looked
            continue
    return found


def _ancestors(pid: int) -> tuple[int, int]:
    """Parent and grandparent.

    Raises:
        OSError: one of them has ended.
    """
    parent = _parent(pid)
    return parent, _parent(parent)


def _parent(pid: int) -> int:
    if pid == 0:
        return 0
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nPPid:\t")[1].split("\n")[0])
