"""How a build tells where it stands. Stages report to the `Progress` protocol and know no console.

with progress.stage("fetch") as stage:
    stage.bytes(done, total)        # moves the bar
    stage.note("from the cache")    # ends up on the stage's line
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress


class Stage(Protocol):
    """One stage under way."""

    def bytes(self, done: int, total: int) -> None:
        """So many bytes of `total` are there."""

    def steps(self, done: int, total: int) -> None:
        """So many of `total` equal steps are done."""

    def note(self, text: str) -> None:
        """What the stage came to, in a few words; the last call counts."""


class Progress(Protocol):
    """Told of every stage of a build."""

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        """A context that lasts as long as the stage."""


class Silent:
    """Tells nobody: for tests and for callers with a display of their own."""

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """See `Progress`."""
        del name
        yield self

    def bytes(self, done: int, total: int) -> None:
        """See `Stage`."""

    def steps(self, done: int, total: int) -> None:
        """See `Stage`."""

    def note(self, text: str) -> None:
        """See `Stage`."""


class _ConsoleStage:
    def __init__(self, bars: RichProgress, name: str) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=None, size="")
        self.text = ""

    def bytes(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total, size=f"{decimal(done)} of {decimal(total)}")

    def steps(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total, size=f"{done} of {total}")

    def note(self, text: str) -> None:
        self.text = text


class ConsoleProgress:
    """On standard error: a spinner or a bar while a stage runs, then one line with its seconds.

    Where standard error is no terminal there are only the lines.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """See `Progress`. A stage that fails leaves no line: the error that follows says more."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[size]}"),
        )
        started_s = time.monotonic()
        with RichProgress(
            *columns,
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as bars:
            stage = _ConsoleStage(bars, name)
            yield stage
        self._console.print(f"  {name:<10} {time.monotonic() - started_s:6.1f} s  {stage.text}", markup=False)


class _LoggedStage:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.text = ""

    def bytes(self, done: int, total: int) -> None:
        self._stage.bytes(done, total)

    def steps(self, done: int, total: int) -> None:
        self._stage.steps(done, total)

    def note(self, text: str) -> None:
        self.text = text
        self._stage.note(text)


class LoggedProgress:
    """Passes everything on, and writes when a stage began and what came of it at the end of the file `log`."""

    def __init__(self, progress: Progress, log: Path) -> None:
        self._progress = progress
        self._log = log

    def line(self, text: str) -> None:
        """Write one line with the time, UTC."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(timezone.utc).isoformat(timespec='seconds')} {text}\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """See `Progress`."""
        self.line(f"{name}: begins")
        try:
            with self._progress.stage(name) as stage:
                logged = _LoggedStage(stage)
                yield logged
        except BaseException as exc:
            self.line(f"{name}: {type(exc).__name__}: {exc}")
            raise
        self.line(f"{name}: {logged.text}")
