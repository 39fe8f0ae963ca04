"""Memory of a Linux machine: what is free, and what a process and its children hold; from /proc and cgroups."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")  # version 2; a container's own limit


def available_memory_bytes() -> int:
    """What new processes can have without swapping, within the container's limit."""
    lines = (_PROC / "meminfo").read_text(encoding="ascii").splitlines()
    free_bytes = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used_bytes = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        cached = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return free_bytes
    if limit == "max":
        return free_bytes
    file_bytes = next((int(line.split()[1]) for line in cached if line.startswith("inactive_file ")), 0)
    return min(free_bytes, int(limit) - used_bytes + file_bytes)


def held_memory_bytes(pid: int) -> int:
    """Of a process and all below it, what they share counted once; 0 when it has ended."""
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
        threads = [path.read_text(encoding="ascii") for path in (_PROC / str(pid) / "task").glob("*/children")]
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
    return own + sum(held_memory_bytes(int(child)) for children in threads for child in children.split())
