"""Lines on disk between the moment they are written and the moment the database has them.

A folder of segments. The process that writes one holds a lock on it, which the kernel takes back even after kill -9;
so a segment whose lock is free is whole, and any process may bring it to the database. Nothing is synced to the disk
itself: a process that dies loses nothing, a machine that loses power may lose the last seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

_SUFFIX = ".jsonl"


class Spool:
    """For one thread at a time, except that `segments` and `read` may be used in another."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """`max_bytes`: of all segments; what does not fit is refused.

        Raises:
            OSError: the folder cannot be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._path: Path | None = None
        self._file = -1
        self._num_segments = 0
        self._own_bytes = 0  # of the present segment
        self._held_bytes = self._measure()  # of all

    def append(self, line: bytes, share: float = 1.0) -> bool:
        """Whether there was room for it; `line` without its newline; `share`: of the room that it may take up.

        Raises:
            OSError: the disk is full, or gone. The segment stays whole.
        """
        data = line + b"\n"
        room = self._max_bytes * share
        if self._held_bytes + len(data) > room:
            self._held_bytes = self._measure()  # others bring segments away too
            if self._held_bytes + len(data) > room:
                return False
        if self._path is None:
            self._begin()
        try:
            _write_all(self._file, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._own_bytes)
                if self._path is not None and not self._own_bytes:
                    self._path.unlink()
            self.cut()
            raise
        self._own_bytes += len(data)
        self._held_bytes += len(data)
        return True

    def cut(self) -> None:
        """End the present segment, so that it can be brought to the database."""
        if self._path is not None:
            os.close(self._file)  # and with it the lock
            self._path, self._file, self._own_bytes = None, -1, 0

    def segments(self) -> list[Path]:
        """Of all processes, oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}"))

    def read(self, segment: Path) -> list[bytes] | None:
        """Its whole lines; None: it is still written, or somebody else has brought it away."""
        try:
            descriptor = os.open(segment, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            *lines, _ = segment.read_bytes().split(b"\n")  # the last is empty, or was cut off by a death
        except (BlockingIOError, FileNotFoundError):
            return None
        finally:
            os.close(descriptor)
        return lines

    def remove(self, path: Path) -> None:
        """The database has it."""
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    def _begin(self) -> None:
        self._num_segments += 1
        path = self._folder / f"{time.time_ns():020}-{os.getpid()}-{self._num_segments}{_SUFFIX}"
        unseen = path.with_suffix(".new")  # until it is locked: who saw it before would take it for a whole one
        self._file = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        unseen.rename(path)
        self._path, self._own_bytes = path, 0
        self._held_bytes = self._measure()

    def _measure(self) -> int:
        total = 0
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


def _write_all(descriptor: int, data: bytes) -> None:
    num_written = os.write(descriptor, data)
    while num_written < len(data):  # the disk is nearly full; the next write says so
        num_written += os.write(descriptor, data[num_written:])
