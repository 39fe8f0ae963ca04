"""Engine directories come and go whole: built out of sight, moved into place, pointed at by `current`.

engines/.building-<name>-<pid>/     under construction; its builder holds a lock on it
engines/<name>/<version>/           finished, never changed afterwards
engines/<name>/current              a relative symlink to the version in use
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from trident.manifest import FILE_NAME, Sha256, sha256_of
from trident.versions import locked, promote

BUILDING = ".building-"


@contextmanager
def workspace(parent: Path, prefix: str, name: str) -> Iterator[Path]:
    """A new folder `parent/<prefix><name>-<pid>`, gone in the end unless it was moved away.

    Folders of the same prefix whose owner died are removed first. Who is alive is told by a lock, which the kernel
    takes back even after kill -9; a process id could be another container's, or somebody else's by now.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{prefix}{name}-{os.getpid()}"
    with ExitStack() as stack:
        with locked(parent):  # nobody sweeps between the making of the folder and its lock
            _sweep(parent, prefix)
            folder.mkdir()
            stack.enter_context(locked(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(BlockingIOError), locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder)


def file_sums(directory: Path) -> dict[str, Sha256]:
    """Hex sha256 of every file below `directory` but its manifest, sorted by relative path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / FILE_NAME)
    return {path.relative_to(directory).as_posix(): sha256_of(path) for path in files}


def install(built: Path, target: Path) -> None:
    """Move the finished folder `built` to `target`, on the same file system, and make it the current version.

    A `target` that is there already is put aside first. Whoever is killed between those two renames leaves no engine,
    and never half of one.
    """
    target.parent.mkdir(exist_ok=True)
    aside = built.with_name(f"{built.name}-replaced")
    with suppress(FileNotFoundError):
        target.rename(aside)
    built.rename(target)
    shutil.rmtree(aside, ignore_errors=True)
    promote(target)
