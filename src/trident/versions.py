"""The versions of one engine, `engines/<name>/<version>`: which is current, which was before, which may go.

    engines/<name>/current     a relative symlink to the promoted version
    engines/<name>/.promoted   the versions promoted so far, one a line, the current one last

It swaps links and removes folders. Who serves a version holds it; what it takes to serve one is not known here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trident.errors import ManifestError, did_you_mean
from trident.manifest import CURRENT, FILE_NAME, Manifest, read_manifest

HISTORY = ".promoted"
_MAX_HISTORY = 100  # lines


@dataclass(frozen=True)
class Version:
    """One engine directory."""

    directory: Path
    manifest: Manifest
    is_current: bool

    @property
    def size_bytes(self) -> int:
        """Of the files that its manifest lists."""
        paths = (self.directory / name for name in self.manifest.files)
        return sum(path.stat().st_size for path in paths if path.is_file())


def engine_names(engines: Path) -> list[str]:
    """Engines that have at least one version."""
    return sorted({path.parents[1].name for path in engines.glob(f"[!.]*/[!.]*/{FILE_NAME}")})


def list_versions(engines: Path, name: str) -> list[Version]:
    """Every version of an engine, the newest build first.

    Raises:
        ManifestError: no such engine; says which there are. Or a manifest is broken.
    """
    folder = engines / name
    directories = [
        path.parent for path in folder.glob(f"[!.]*/{FILE_NAME}") if not path.parent.is_symlink() and "/" not in name
    ]
    if not directories:
        known = engine_names(engines)
        there = f"; there are {', '.join(known)}" if known else "; build one with 'trident build'"
        raise ManifestError(f"no engine '{name}' in {engines.absolute()}{did_you_mean(name, known)}{there}")
    current = current_version(folder)
    found = [Version(path, read_manifest(path), path.name == current) for path in directories]
    return sorted(found, key=lambda version: (version.manifest.built_at, version.directory.name), reverse=True)


def find_version(engines: Path, engine: str) -> Version:
    """The version that `name@version` names; of `name` alone the current one. The start of a version is enough.

    Raises:
        ManifestError: no such engine or version, or several versions begin like this.
    """
    name, _, version = engine.partition("@")
    versions = list_versions(engines, name)
    if not version:
        current = [one for one in versions if one.is_current]
        if not current:
            raise ManifestError(f"engine {name} has no current version; 'trident engines promote {name}@VERSION'")
        return current[0]
    found = [one for one in versions if one.directory.name == version] or [
        one for one in versions if one.directory.name.startswith(version)
    ]
    names = [one.directory.name for one in found or versions]
    if len(found) != 1:
        several = "several versions that begin with" if found else "no version"
        raise ManifestError(f"engine {name} has {several} '{version}': {', '.join(names)}")
    return found[0]


def current_version(folder: Path) -> str | None:
    """What `current` in engines/<name> points at; None without it."""
    try:
        return (folder / CURRENT).readlink().name
    except OSError:
        return None


def promote(directory: Path) -> None:
    """Point `current` beside the engine directory at it, in one step, and remember it.

    Raises:
        ManifestError: it is not there, or not any more.
    """
    folder = directory.parent
    if not folder.is_dir():
        raise ManifestError(f"no engine at {directory}")
    with locked(folder):
        if not directory.is_dir():  # collected since somebody looked
            raise ManifestError(f"no engine at {directory}")
        history = [version for version in _history(folder) if version != directory.name]
        current = current_version(folder)
        if current and current != directory.name and history[-1:] != [current]:  # an older Trident's, or a hand's
            history.append(current)
        _swap(folder / CURRENT, directory.name)
        _remember(folder, [*history, directory.name])


def rollback(engines: Path, name: str) -> Version:
    """Make the version current that was so before this one; doing it twice goes back twice.

    Raises:
        ManifestError: no such engine, or none was promoted before that is still there.
    """
    list_versions(engines, name)
    folder = engines / name
    with locked(folder):
        current = current_version(folder)
        before = _promoted_before(folder, current)
        if not before:
            raise ManifestError(f"engine {name}: no version was promoted before {current or 'any'}; nothing to go to")
        _swap(folder / CURRENT, before[-1])
        _remember(folder, before)
    return find_version(engines, f"{name}@{before[-1]}")


def collect_garbage(engines: Path, name: str, keep: int, *, is_dry_run: bool = False) -> list[Version]:
    """Remove old versions and return them.

    The current one stays, the one that a rollback would go to, the `keep` newest others, and what is served.

    Raises:
        ManifestError: no such engine.
    """
    others = [version for version in list_versions(engines, name) if not version.is_current]
    folder = engines / name
    back = _promoted_before(folder, current_version(folder))[-1:]
    removed = []
    for version in others[keep:]:
        if version.directory.name in back:
            continue
        with suppress(BlockingIOError, FileNotFoundError), locked(version.directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
            aside = engines / f".building-gc-{name}-{version.directory.name}-{os.getpid()}"
            with locked(folder):  # nobody promotes it meanwhile
                if current_version(folder) == version.directory.name:
                    continue
                removed.append(version)
                if is_dry_run:
                    continue
                # Renamed first, so that no half of an engine is ever found; the builder sweeps such names too.
                version.directory.rename(aside)
            shutil.rmtree(aside)
    return removed


@contextmanager
def holding(directory: Path) -> Iterator[None]:
    """Keep an engine directory from being collected, for as long as the block or this process lives."""
    with locked(directory, fcntl.LOCK_SH):
        yield


def differences(old: Manifest, new: Manifest) -> dict[str, tuple[str, str]]:
    """What two manifests say differently, by key: (old, new). Of `files`, only which differ."""
    ours, theirs = _flat(old), _flat(new)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return {
        key: (ours.get(key, "-"), theirs.get(key, "-")) for key in keys if ours.get(key, "-") != theirs.get(key, "-")
    }


def _flat(manifest: Manifest) -> dict[str, str]:
    def walk(prefix: str, value: object) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield from walk(f"{prefix}.{key}" if prefix else str(key), inner)
        elif value not in ({}, None):
            text = str(value)
            yield prefix, text[:12] if prefix.startswith("files.") else text

    return dict(walk("", manifest.model_dump(mode="json")))


def _promoted_before(folder: Path, current: str | None) -> list[str]:
    """Versions that were current and are still there, the latest last."""
    return [version for version in _history(folder) if version != current and (folder / version / FILE_NAME).is_file()]


def _history(folder: Path) -> list[str]:
    try:
        return (folder / HISTORY).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def _remember(folder: Path, versions: list[str]) -> None:
    part = folder / f"{HISTORY}-{os.getpid()}"
    part.write_text("".join(f"{version}\n" for version in versions[-_MAX_HISTORY:]), encoding="utf-8")
    part.replace(folder / HISTORY)


def _swap(link: Path, target: str) -> None:
    new = link.with_name(f".{link.name}-{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


@contextmanager
def locked(folder: Path, flags: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock on a folder, which the kernel takes back even after kill -9.

    Raises:
        BlockingIOError: with LOCK_NB, somebody else holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, flags)
        yield
    finally:
        os.close(descriptor)
