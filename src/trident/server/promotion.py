"""Brings a promoted version into a running server, without a request lost and without Triton knowing.

The model processes follow a link to the engine directory (triton_adapter/engine_link.py). The engine model loads the
new engine beside the old one; then new requests go to it, and the old one leaves when its last stream has ended.

Why not Triton's own model control: it would have to be switched on, and it ends processes that the watchdog takes for
dead. Why not a second server on the same ports (SO_REUSEPORT): the connections that clients keep stay with the old one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from trident.contract import ENGINE, MODELS
from trident.errors import HostError, ManifestError, UnavailableError
from trident.manifest import CURRENT, EngineKind, Manifest, read_manifest
from trident.memory import available_memory_bytes, held_memory_bytes
from trident.server.launch import check_engine, engine_link, followed_folder
from trident.server.process import ServerProcess
from trident.settings import Backend, Settings
from trident.versions import Version

_TICK_S = 0.1
# Their KV cache takes what is left of the GPU: two do not fit.
_ALONE = frozenset({EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH})
_TOKENIZER = "tokenizer/tokenizer.json"


def promoted(settings: Settings) -> Path | None:
    """The engine directory that is current now; None where nobody replaces what is served.

    That is where the setting names one version, and with the C++ backend, whose models follow no link.
    """
    if (
        settings.backend is not Backend.PYTHON
        or "/" in settings.engine
        or "@" in settings.engine
        or settings.engine.startswith(".")
    ):
        return None
    link = settings.engines / settings.engine / CURRENT
    return link.resolve() if link.exists() else None


def check_replaceable(old: Manifest, new: Manifest) -> None:
    """Whether requests may pass from one to the other: what preprocessing made for one may reach the other's engine.

    Raises:
        ManifestError: another kind or tokenizer; says that the server must be started again.
    """
    if new.kind in _ALONE:
        raise ManifestError(
            f"engine {new.name}@{new.version} needs the GPU's memory that {old.version} has; start trident serve again"
        )
    found = {
        "kind": old.kind is not new.kind,
        "tokenizer": old.files.get(_TOKENIZER) != new.files.get(_TOKENIZER) or old.tokens != new.tokens,
    }
    for what, is_different in found.items():
        if is_different:
            raise ManifestError(
                f"engine {new.name}@{new.version} has another {what} than {old.version}, which is served; "
                "start trident serve again to serve it"
            )


def check_room(directory: Path, needed_bytes: int, free_bytes: int) -> None:
    """Whether the engine fits beside the one that is served; rather not at all than have the kernel end the server.

    Args:
        directory: of the engine.
        needed_bytes: an estimate: what the served one takes, times as much as its files are larger.
        free_bytes: of this machine.

    Raises:
        HostError: it does not.
    """
    if needed_bytes > free_bytes:
        raise HostError(
            f"some {needed_bytes / 1e9:.1f} GB are needed to load it beside the one that is served, "
            f"{free_bytes / 1e9:.1f} GB are free; start trident serve again to serve {directory.name}"
        )


def replace_engine(process: ServerProcess, directory: Path, is_cancelled: Callable[[], bool]) -> None:
    """Return when every model process of the server serves the engine in `directory`.

    Raises:
        ManifestError: it is damaged, cannot run here, or must not replace the one that is served.
        HostError: there is no memory for both at once.
        UnavailableError: a model process could not load it, or did not answer; the old engine is served as before.
    """
    link = engine_link(process.home)
    old = link.resolve()
    check_engine(directory)
    served, new = (Version(folder, read_manifest(folder), is_current=False) for folder in (old, directory))
    check_replaceable(served.manifest, new.manifest)
    served_bytes = sum(held_memory_bytes(pid) for pid, model in process.models.items() if model == ENGINE.name)
    growth = max(1.0, new.size_bytes / max(1, served.size_bytes))
    check_room(directory, round(served_bytes * growth), available_memory_bytes())
    _point(link, directory)
    try:
        _wait_until_followed(process, directory, is_cancelled)
    except UnavailableError:
        _point(link, old)
        raise


def _wait_until_followed(process: ServerProcess, directory: Path, is_cancelled: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + process.launch.settings.ready_timeout_s
    following = {model.name for model in MODELS}  # those of `trident repository add` have engines of their own
    waiting = {pid: model for pid, model in process.models.items() if model in following}
    while waiting and not is_cancelled():
        for pid, model in list(waiting.items()):
            engine, error = _followed(process.home, pid)
            if engine != str(directory):
                continue
            if error:
                raise UnavailableError(f"model {model}: {error}")
            del waiting[pid]
        if not process.is_alive or time.monotonic() > deadline_s:
            raise UnavailableError(f"no answer from {', '.join(sorted(waiting.values()))}")
        time.sleep(_TICK_S)


def _followed(home: Path, pid: int) -> tuple[str, str]:
    """The engine that a model process was last told of, and why it did not take it in."""
    try:
        said = json.loads((followed_folder(home) / str(pid)).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "", ""
    return said["engine"], said["error"]


def _point(link: Path, directory: Path) -> None:
    new = link.with_name(f".{link.name}-{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(directory)
    new.replace(link)
