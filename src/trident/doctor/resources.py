"""Facts about shared memory, limits of a process, ports and disk. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trident.doctor.machine import Machine
from trident.engines.preflight import Fact

MIN_SHM_BYTES = 64 << 20  # Docker's default; a server with the embedded engine takes 3 MiB
MIN_GPU_SHM_BYTES = 1 << 30  # NCCL and the LLM API's workers too; NVIDIA's own advice for its images
MIN_OPEN_FILES = 1024  # some four for a stream
MIN_ENGINES_BYTES = 1 << 30  # one more engine of SmolLM2 while it is built
MIN_TEMPORARY_BYTES = 64 << 20  # a server's home and log
_UNLIMITED = -1  # resource.RLIM_INFINITY


def resource_facts(machine: Machine, num_gpus: int) -> Iterator[Fact]:
    """All of them."""
    yield shm_fact(machine.shm_bytes, num_gpus)
    yield leftovers_fact(machine.shm_leftovers)
    yield open_files_fact(machine.open_files)
    yield locked_memory_fact(machine.locked_bytes, num_gpus)
    yield ports_fact(machine.port_trouble)
    make_room = "make room, or take another folder"
    yield disk_fact(machine.engines_disk, MIN_ENGINES_BYTES, f"trident engines gc; or {make_room} (TRIDENT_ENGINES)")
    yield disk_fact(machine.temporary_disk, MIN_TEMPORARY_BYTES, f"{make_room} (TMPDIR)")


def shm_fact(shm_bytes: int, num_gpus: int) -> Fact:
    """Size of /dev/shm, through which Triton and its models speak."""
    needed = MIN_GPU_SHM_BYTES if num_gpus else MIN_SHM_BYTES
    fix = "docker run --shm-size 1g; in Kubernetes an emptyDir of medium Memory at /dev/shm"
    return Fact("shared memory", shm_bytes >= needed, f"{_size(shm_bytes)}, {_size(needed)} needed", fix)


def leftovers_fact(names: tuple[str, ...]) -> Fact:
    """What servers that were killed with their guards have left there."""
    if not names:
        return Fact("shm leftovers", True, "none left over")
    pattern = "', '".join(sorted({name[: len("trident_12345678_")] + "*" for name in names}))
    found = f"{len(names)} of servers that live no more"
    return Fact("shm leftovers", False, found, f"remove '{pattern}' in /dev/shm")


def open_files_fact(limit: int) -> Fact:
    """ulimit -n."""
    is_ok = limit == _UNLIMITED or limit >= MIN_OPEN_FILES
    return Fact(
        "open files", is_ok, _limit(limit), f"ulimit -n {MIN_OPEN_FILES * 64}, or --ulimit nofile of docker run"
    )


def locked_memory_fact(limit_bytes: int, num_gpus: int) -> Fact:
    """ulimit -l: pinned memory and InfiniBand need it, a CPU does not."""
    is_ok = not num_gpus or limit_bytes == _UNLIMITED
    text = "unlimited" if limit_bytes == _UNLIMITED else _size(limit_bytes)
    return Fact("locked memory", is_ok, text, "ulimit -l unlimited, or docker run --ulimit memlock=-1")


def ports_fact(trouble: str) -> Fact:
    """Of HTTP, gRPC and metrics."""
    if not trouble:
        return Fact("ports", True, "all three are free")
    what, _, fix = trouble.partition("; ")
    return Fact("ports", False, what, fix)


def disk_fact(disk: tuple[str, int], needed_bytes: int, fix: str) -> Fact:
    """Room in a folder."""
    folder, free_bytes = disk
    return Fact("disk", free_bytes >= needed_bytes, f"{_size(free_bytes)} free for {folder}", fix)


def _limit(number: int) -> str:
    return "unlimited" if number == _UNLIMITED else str(number)


def _size(num_bytes: int) -> str:
    unit = min(int(math.log(max(num_bytes, 1), 1024)), 4)
    return f"{num_bytes / 1024**unit:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"
