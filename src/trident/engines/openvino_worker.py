"""OpenVINO GenAI's continuous batching in a process of its own: commands in, what each step brought out.

    python -m trident.engines.openvino_worker ENGINE_DIRECTORY FILE_DESCRIPTOR

A process, because `ContinuousBatchingPipeline.step` holds Python's GIL (openvino-genai 2026.4): in the model's own
process no response could leave while the engine works. See openvino_messages.py for what is said. When a step fails,
the process ends: the model process follows, and the watchdog restarts the server.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from trident.engines.openvino_batch import log
from trident.engines.openvino_batches import Batches
from trident.engines.openvino_messages import Cancel, Command, News, Step
from trident.errors import ManifestError
from trident.manifest import read_manifest

NICENESS = 5  # below the processes that carry the tokens away: they need little, and the engine all that is left
WAITING_POLL_S = 0.005  # how often an otherwise idle engine looks at adapters being loaded and guides being tried


class Worker:
    """Steps every batch that has something to step, and takes commands between two steps."""

    def __init__(self, batches: Batches, connection: Connection) -> None:
        self._batches = batches
        self._connection = connection
        self._news: list[News] = []
        self._num_steps = 0
        self._num_told_preparing = 0

    def run(self) -> None:
        """Until the parent closes its end.

        Raises:
            EOFError, OSError: it did.
            RuntimeError: a step failed; no pipeline may be used any more.
        """
        while True:
            self._take_commands()
            self._news += self._batches.admit()
            if self._news or self._batches.num_preparing != self._num_told_preparing:
                self._send()
            for batch in self._batches.busy():
                self._news += batch.step()
                self._num_steps += 1
                self._send()

    def _take_commands(self) -> None:
        patience: float | None = 0.0
        if not self._batches.busy():
            patience = WAITING_POLL_S if self._batches.is_waiting else None
        while self._connection.poll(patience):
            for command in self._connection.recv():
                self._take(command)
            patience = 0.0

    def _take(self, command: Command) -> None:
        if isinstance(command, Cancel):
            self._news += [news for news in [self._batches.cancel(command.key)] if news]
        else:
            self._batches.submit(command)

    def _send(self) -> None:
        self._connection.send(Step(self._news, self._batches.stats(self._num_steps)))
        self._news = []
        self._num_told_preparing = self._batches.num_preparing


def main(directory: Path, descriptor: int) -> None:
    """Load the engine in `directory` and serve the parent at the other end of the socket `descriptor`."""
    connection = Connection(descriptor)
    os.nice(NICENESS)
    try:
        batches = Batches(directory, read_manifest(directory))
    except ManifestError as exc:
        connection.send(exc.message)
        return
    connection.send(Step([], batches.stats(num_steps=0)))
    try:
        Worker(batches, connection).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the model process is gone; nobody is left to wait for a tidy end
    except RuntimeError as exc:
        log(exc)
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
