"""The two files that a batch job writes. A job that is killed goes on from what they hold.

Answers are appended as they come, each a line; at the end they are put into the order of the input. A line is written
at once, which a killed process survives; `sync` makes it survive the machine. A last line that was torn is cut off.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trident.errors import HostError, SettingsError
from trident_client.batch_lines import ID_PREFIX, read_answered


@dataclass(frozen=True, slots=True)
class _Place:
    digest: str
    offset: int  # bytes
    length: int


class AnswerFile:
    """Opened by one job at a time. Any OSError is a HostError."""

    def __init__(self, path: Path) -> None:
        """Read what is there.

        Raises:
            SettingsError: another job writes it, or it holds something else than a job's answers.
            HostError: it cannot be opened.
        """
        self.path = path
        self._places: dict[int, _Place] = {}  # by the number of the input line
        self._size = 0  # bytes
        with _telling(path):
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        try:
            self._lock()
            with _telling(path):
                self._read()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._places)

    def digest_of(self, number: int) -> str | None:
        """Of the input line whose answer is there; None: its answer is not."""
        place = self._places.get(number)
        return place.digest if place else None

    def append(self, number: int, digest: str, line: bytes) -> None:
        """Write an answer; `line` ends in a line break."""
        with _telling(self.path):
            _write_all(self._file, line)
        self._places[number] = _Place(digest, self._size, len(line))
        self._size += len(line)

    def sync(self) -> None:
        """Wait until what was written is on the disk; may run in another thread."""
        with _telling(self.path):
            os.fsync(self._file.fileno())

    def put_in_order(self) -> None:
        """By the numbers of the input lines. The file is replaced as a whole or not at all."""
        numbers = sorted(self._places)
        if numbers == list(self._places):
            return
        target = self.path.resolve()  # a link stays one
        copy = target.with_name(f"{target.name}.sorting")
        with _telling(self.path), copy.open("wb") as file:
            for number in numbers:
                place = self._places[number]
                file.write(os.pread(self._file.fileno(), place.length, place.offset))
            file.flush()
            os.fsync(file.fileno())
            copy.replace(target)

    def close(self) -> None:
        """Sync, and let another job open it."""
        try:
            self.sync()
        finally:
            self._file.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise SettingsError(f"{self.path} is no regular file, which a job can go on with; choose another --output")
        try:
            with _telling(self.path):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except HostError as exc:
            if not isinstance(exc.__cause__, BlockingIOError):
                raise
            raise SettingsError(f"another job writes {self.path}; wait for it, or choose another --output") from exc

    def _read(self) -> None:
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n") and _may_be_torn(line):
                    break
                answered = read_answered(line)
                if answered is None:
                    raise SettingsError(_what_is_wrong(self.path, number))
                self._places.setdefault(answered[0], _Place(answered[1], self._size, len(line)))
                self._size += len(line)
        self._file.truncate(self._size)
        self._file.seek(self._size)


class FailureFile:
    """Those of one run: a run begins it anew, because it asks again for all that has no answer. Absent without any."""

    def __init__(self, path: Path) -> None:
        """Remove the one of the run before.

        Raises:
            SettingsError: it holds something else than a job's failures.
        """
        self.path = path
        self._file: BinaryIO | None = None
        with _telling(path):
            if path.exists():
                with path.open("rb") as file:
                    first = file.readline()
                if first and not first.startswith(ID_PREFIX) and not _may_be_torn(first):
                    raise SettingsError(_what_is_wrong(path, 1))
                path.unlink()

    def append(self, line: bytes) -> None:
        """Write a failure; `line` ends in a line break."""
        with _telling(self.path):
            if self._file is None:
                self._file = self.path.open("wb", buffering=0)
            _write_all(self._file, line)

    def close(self) -> None:
        """Make it last."""
        if self._file is not None:
            with _telling(self.path):
                os.fsync(self._file.fileno())
                self._file.close()


def _may_be_torn(line: bytes) -> bool:
    """Whether it is the beginning of a line of ours."""
    return line.startswith(ID_PREFIX) or ID_PREFIX.startswith(line)


def _what_is_wrong(path: Path, number: int) -> str:
    if number == 1:
        return f"{path} is there and was not written by a batch job; move it away, or choose another name"
    return f"{path}: line {number} is no answer; remove that line, and it is asked for again"


def _write_all(file: BinaryIO, line: bytes) -> None:
    """An unbuffered file may take a part only."""
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise HostError(f"{path}: {exc.strerror or exc}") from exc
