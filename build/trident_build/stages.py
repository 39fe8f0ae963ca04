"""The costly stages of a build, each kept under a hash of all that it depends on.

<cache>/stages/<stage>-<key>/        what a stage made, and `.stage.json`: what of, and the sha256 of every file
<cache>/stages/.making-<stage>-...   under way; its builder holds a lock on it

So a build that was killed goes on after the last stage that ended, and recipes that differ in a late stage share the
early ones. What is kept is compared with its sums before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trident.manifest import sha256_of
from trident_build.directory import file_sums, workspace
from trident_build.progress import Stage

REVISION = 2  # raise it when the builder's own code begins to make other files of the same inputs
RECORD = ".stage.json"
MAKING = ".making-"
KEY_DIGITS = 16


def stage_key(inputs: Mapping[str, Any]) -> str:
    """A hash of JSON values and of this builder's revision."""
    content = json.dumps({"revision": REVISION, **inputs}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:KEY_DIGITS]


class Stages:
    """What stages made, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str, inputs: Mapping[str, Any]) -> Path:
        """Where the output of a stage lies once it was made."""
        return self._folder / f"{name}-{stage_key(inputs)}"

    def is_made(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Whether it is there; `make` also looks whether it is intact."""
        return (self.path(name, inputs) / RECORD).is_file()

    def make(self, name: str, inputs: Mapping[str, Any], work: Callable[[Path], None], stage: Stage) -> Path:
        """The folder that `work` filled, now or in an earlier build."""
        target = self.path(name, inputs)
        if _is_intact(target):
            stage.note("kept from an earlier build")
            return target
        with workspace(self._folder, MAKING, target.name) as folder:
            work(folder)
            record = {"stage": name, "inputs": dict(inputs), "files": file_sums(folder)}
            (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)  # damaged
            folder.rename(target)
        return target


def _is_intact(folder: Path) -> bool:
    try:
        files = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return all(sha256_of(folder / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError):
        return False


def place_files(source: Path, target: Path) -> None:
    """Every file below `source` but its record, below the folder `target`: linked, or copied to another file system.

    Linking is safe because finished files are never written again, and `make` compares sums.
    """
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.name != RECORD:
            place_file(path, target / path.relative_to(source))


def place_file(source: Path, target: Path, *, is_ours: bool = True) -> None:
    """The file `source`, linked or copied to `target`; one that its owner may write again is always copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_ours:
        shutil.copyfile(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
