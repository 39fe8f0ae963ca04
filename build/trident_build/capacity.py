"""Whether this machine has room for what a build is going to need. Asked before anything begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from trident.errors import HostError
from trident.memory import available_memory_bytes


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Refuse to start what cannot end.

    Raises:
        HostError: fewer than `needed_bytes` are free where `folder` is or will be.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes:
        raise HostError(
            f"not enough disk at {folder}: {needed_bytes / 1e6:,.0f} MB are needed, {free_bytes / 1e6:,.0f} MB are free"
        )


def check_memory(what: str, needed_bytes: int, free_bytes: int | None = None) -> None:
    """Refuse to start what the kernel would kill.

    Args:
        what: the subject of the sentence: "to quantize this model".
        needed_bytes: an estimate.
        free_bytes: what can be had; None: what the kernel and the container's limit say.

    Raises:
        HostError: there is less.
    """
    free_bytes = available_memory_bytes() if free_bytes is None else free_bytes
    if free_bytes < needed_bytes:
        raise HostError(
            f"not enough memory {what}: some {needed_bytes / 1e9:,.1f} GB are needed, {free_bytes / 1e9:,.1f} GB "
            "are free; use a larger machine"
        )
