"""Which engine a model process serves, also when another version is promoted under it.

`trident serve` gives its models a link to the engine directory. When the link is pointed elsewhere, each model process
takes the new engine in and writes a file about it; see trident/server/promotion.py, which swaps the link and reads the
files. Without `trident serve` the directory is fixed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import triton_python_backend_utils as pb_utils

from trident.errors import TridentError
from trident.triton_adapter.requests import engine_directory

FOLLOWED_VARIABLE = "TRIDENT_FOLLOWED_FOLDER"  # where every model process says what it has taken in
POLL_S = 0.2


class EngineLink:
    """The engine of one model process. `follow` may be called once; nothing is watched before."""

    def __init__(self, args: dict[str, str]) -> None:
        """Read where the engine is.

        Raises:
            ManifestError: nobody says.
        """
        self._link = engine_directory(args)
        self.directory = self._link.resolve()  # of the version that is served now
        folder = os.environ.get(FOLLOWED_VARIABLE)
        self._report = Path(folder) / str(os.getpid()) if folder and self._link.is_symlink() else None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine link", daemon=True)

    def follow(self, take_in: Callable[[Path], None]) -> None:
        """Call `take_in(directory)` in a thread whenever the link points at another engine.

        It returns when every new request goes to that engine, or raises a TridentError and stays with the old one.
        """
        self._take_in = take_in
        if self._report is not None:
            self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        failed: Path | None = None
        while not self._closing.wait(POLL_S):
            directory = self._link.resolve()
            if directory == failed:
                continue
            if directory != self.directory or failed is not None:
                failed = None if self._follow(directory) else directory

    def _follow(self, directory: Path) -> bool:
        error = ""
        try:
            if directory != self.directory:
                self._take_in(directory)
                self.directory = directory
        except TridentError as exc:
            error = exc.message
        except Exception as exc:  # noqa: BLE001 - the old engine is there, and the next promotion may work
            pb_utils.Logger.log_error(f"unexpected {type(exc).__name__}: {exc}")
            error = f"internal error ({type(exc).__name__}: {exc})"
        self._say(directory, error)
        return not error

    def _say(self, directory: Path, error: str) -> None:
        assert self._report is not None  # noqa: S101 - for the type checker; nothing runs without it
        part = self._report.with_suffix(".part")
        part.write_text(json.dumps({"engine": str(directory), "error": error}), encoding="utf-8")
        part.replace(self._report)
