"""The engine that takes new requests, and those before it that finish their streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trident.engines.base import Engine
from trident.engines.dispatcher import Dispatcher, Load
from trident.engines.job import Reply
from trident.engines.load import load_engine
from trident.engines.pace import Pace
from trident.engines.parameters import Generation
from trident.engines.telemetry import Telemetry
from trident.manifest import Manifest, read_manifest
from trident.settings import Settings
from trident.text.tokenizer import Detokenizers

TICK_S = 0.1  # between two looks whether a replaced engine is idle


class RunningEngine:
    """One loaded engine with its dispatcher."""

    def __init__(
        self, directory: Path, settings: Settings, telemetry: Telemetry, on_engine_gone: Callable[[], None]
    ) -> None:
        """Load it.

        Raises:
            ManifestError: there is no adapter for it, or it refuses the files.
            EngineError: its process ended.
        """
        self.manifest: Manifest = read_manifest(directory)
        detokenizers = Detokenizers(directory)
        self.engine: Engine = load_engine(directory, self.manifest)
        self.dispatcher = Dispatcher(
            self.engine,
            detokenizers,
            pace=Pace(max_delay_s=settings.response_delay_ms / 1000),
            limits=self.manifest.limits,
            telemetry=telemetry,
            on_engine_gone=on_engine_gone,
        )


class RunningEngines:
    """What is admitted goes to the newest engine; cancels, loads and drains are everybody's."""

    def __init__(self, load: Callable[[Path], RunningEngine], directory: Path) -> None:
        """Load the first one with `load`; see `RunningEngine` for what it raises."""
        self._load = load
        self._lock = threading.Lock()  # of who is the newest, and of submitting to it
        self.newest = load(directory)
        self._replaced: list[RunningEngine] = []
        self._is_closing = threading.Event()

    def replace(self, directory: Path) -> None:
        """Load another engine beside the one that runs, and let it take what comes from now on.

        Raises:
            TridentError: it cannot be loaded; nothing has changed then.
        """
        new = self._load(directory)
        with self._lock:
            old, self.newest = self.newest, new
            self._replaced.append(old)
        threading.Thread(target=self._retire, args=(old,), name="replaced engine", daemon=True).start()

    def submit(
        self, engine: RunningEngine, request_id: str, generations: Sequence[Generation], reply: Reply, limit_s: float
    ) -> bool:
        """Admit a request that was read for `engine`; False when that is not the newest any more: read it again.

        Raises:
            TridentError: see `Dispatcher.submit`.
        """
        with self._lock:
            if engine is not self.newest:
                return False
            engine.dispatcher.submit(request_id, generations, reply, limit_s)
        return True

    def cancel(self, request_id: str) -> None:
        """Cancel the request on whichever engine has it."""
        for one in self._all():
            one.dispatcher.cancel(request_id)

    def load(self) -> Load:
        """Of all of them together."""
        loads = [one.dispatcher.load() for one in self._all()]
        return Load(
            sum(load.num_waiting for load in loads),
            sum(load.num_waiting_tokens for load in loads),
            sum(load.num_live for load in loads),
        )

    def drain(self) -> None:
        """Refuse what is new from now on."""
        for one in self._all():
            one.dispatcher.drain()

    def close(self) -> None:
        """Stop all of them."""
        self._is_closing.set()
        for one in self._all():
            one.dispatcher.close()

    def _all(self) -> list[RunningEngine]:
        with self._lock:
            return [*self._replaced, self.newest]

    def _retire(self, old: RunningEngine) -> None:
        """Its streams end by themselves or by their deadlines; then its memory is free."""
        while old.dispatcher.load().num_live:
            if self._is_closing.is_set():
                return
            time.sleep(TICK_S)
        with self._lock:
            self._replaced.remove(old)
        old.dispatcher.close()
