"""The same engine with another manifest: links to its files in a folder of their own; nothing is built again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trident.engines.base import Engine
from trident.engines.load import load_engine
from trident.manifest import FILE_NAME, read_manifest, write_manifest
from trident.memory import held_memory_bytes


def link_engine(built: Path, directory: Path, **changes: Any) -> Path:
    """Link to the files of `built` that `directory` has not yet, and write the manifest with `changes`.

    Args:
        built: an engine directory.
        directory: made where it is not there; what it has (adapters, a draft) stays.
        changes: fields of the manifest; `limits` as a dict of those that change, `options` beside its own.
    """
    directory.mkdir(exist_ok=True)
    for path in built.iterdir():
        if path.name != FILE_NAME and not (directory / path.name).exists():
            (directory / path.name).symlink_to(path)
    manifest = read_manifest(built)
    changes["limits"] = manifest.limits.model_copy(update=changes.get("limits", {}))
    changes["options"] = {**manifest.options, **changes.get("options", {})}
    write_manifest(directory, manifest.model_copy(update=changes))
    return directory


@contextmanager
def loaded(directory: Path) -> Iterator[Engine]:
    """The engine in `directory` for the time of the `with` block.

    Raises:
        ManifestError: it cannot be loaded here.
    """
    engine = load_engine(directory, read_manifest(directory))
    try:
        yield engine
    finally:
        engine.close()


def held_mib() -> float:
    """Memory of this process and of the engines below it."""
    return held_memory_bytes(os.getpid()) / (1 << 20)
