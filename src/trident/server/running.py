"""`running_server`: a server that is ready, watched, restarted when it must be, and cleanly ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from trident.errors import TridentError, UnavailableError
from trident.server.launch import RESTRICTED_HEADER, Launch, prepare
from trident.server.process import ServerProcess
from trident.server.promotion import promoted, replace_engine
from trident.server.readiness import wait_until_ready
from trident.server.watchdog import watch
from trident.settings import Settings
from trident.versions import holding

Say = Callable[[str], None]
_MAX_RESTARTS = 5  # in a row, without an answered probe between them
_PAUSE_S = 2.0  # after a restart that failed
_PROMOTION_POLL_S = 0.5  # between two looks at what is current


def _say_nothing(_: str) -> None:
    pass


@contextmanager
def running_server(settings: Settings, log: Say = _say_nothing) -> Iterator[Server]:
    """A ready server for the time of the `with` block; `log` is told of restarts, one line each.

    Raises:
        ConfigurationError: something is missing before the start; the leaf says what.
        UnavailableError: it did not start or gave no answer in time; the log file is kept and named.
        TridentError: the first answer was this error.
    """
    server = Server(prepare(settings), log)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Server:
    """One deployment on three ports; the process behind them may be replaced by the watchdog."""

    def __init__(self, launch: Launch, log: Say) -> None:
        """Nothing is started yet."""
        settings = launch.settings
        self.settings = settings
        self.http_url = f"{settings.loopback}:{settings.http_port}"
        self.grpc_url = f"{settings.loopback}:{settings.grpc_port}"
        self.metrics_url = f"{settings.loopback}:{settings.metrics_port}"
        self.restricted_header = (RESTRICTED_HEADER, launch.secret)  # opens the restricted APIs
        self.shm_prefix = launch.shm_prefix
        self.log_path = launch.log_path
        self._launch = launch
        self._log = log
        self._process: ServerProcess | None = None
        self._lock = threading.Lock()  # who starts or ends a process
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: TridentError | None = None
        self._num_restarts = 0
        self._watchdog = threading.Thread(target=self._keep_alive, name="trident-watchdog", daemon=True)
        self._follower = threading.Thread(target=self._follow_promotions, name="trident-promotions", daemon=True)
        self._held = ExitStack()  # the engine directory, against `trident engines gc`

    @property
    def process_id(self) -> int | None:
        """The pid of tritonserver itself; None when it does not run."""
        return self._process.pid if self._process else None

    def model_process_ids(self) -> dict[str, int]:
        """Model name -> pid of its (first) process, for the Python models that run now."""
        processes = self._process.model_processes() if self._process else {}
        return {model: pid for pid, model in sorted(processes.items(), reverse=True)}

    def start(self) -> None:
        """Start the first process, wait for its first inference, then watch it; see `running_server`."""
        self._held.enter_context(holding(self._launch.engine_directory))
        try:
            self._start_process()
        except TridentError:
            self._end_process()
            raise
        self._watchdog.start()
        self._follower.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the server has ended for good, and say whether it has.

        Raises:
            UnavailableError: the watchdog gave up; the log file is kept and named.
        """
        has_ended = self._ended.wait(timeout_s)
        if self._failure:
            raise self._failure
        return has_ended

    def stop(self) -> None:
        """End everything, see `ServerProcess.stop`; idempotent."""
        self._stopping.set()
        with self._lock:
            if self._process and not self._process.stop():
                self._log("requests that still ran at the end of the exit timeout were cut off")
        for thread in (self._watchdog, self._follower):
            if thread.is_alive():
                thread.join()
        self._held.close()
        self._ended.set()

    def _start_process(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._process = ServerProcess(self._launch)
        wait_until_ready(self._process, self._stopping.is_set)

    def _end_process(self) -> None:
        with self._lock:
            if self._process:
                self._process.kill()

    def _keep_alive(self) -> None:
        """The watchdog's thread: restart until told to stop, or until it has failed too often."""
        try:
            while self._process and (reason := watch(self._process, self._stopping.is_set, self._forget_restarts)):
                self._restart(reason)
        except UnavailableError as exc:
            self._failure = exc
        except Exception as exc:  # noqa: BLE001 - a watchdog that failed must not look like an ordered end
            self._failure = UnavailableError(f"the watchdog failed ({type(exc).__name__}: {exc}); log: {self.log_path}")
        finally:
            self._ended.set()

    def _follow_promotions(self) -> None:
        """The follower's thread: what becomes current is served, unless it cannot be."""
        refused: Path | None = None
        while not self._stopping.wait(_PROMOTION_POLL_S):
            process, directory = self._process, promoted(self.settings)
            if directory in {None, self._launch.engine_directory, refused} or not process or not process.models:
                continue
            assert directory is not None  # noqa: S101 - for the type checker
            try:
                self._promote(process, directory)
                refused = None
            except (TridentError, OSError) as exc:
                if process.is_alive:  # else the next process tries it
                    refused = directory
                    self._log(f"{directory.name} was promoted and is not served: {exc}")

    def _promote(self, process: ServerProcess, directory: Path) -> None:
        started_s, old = time.monotonic(), self._launch.engine_directory
        with ExitStack() as held:
            held.enter_context(holding(directory))
            replace_engine(process, directory, self._stopping.is_set)
            self._launch = replace(self._launch, engine_directory=directory)  # a restart begins with it
            self._held.close()
            self._held = held.pop_all()
        if not self._stopping.is_set():
            seconds = time.monotonic() - started_s
            self._log(f"{directory.name} was promoted and is served after {seconds:.1f} s; {old.name} ends its streams")

    def _forget_restarts(self) -> None:
        self._num_restarts = 0

    def _restart(self, reason: str) -> None:
        """Replace the process, several times if it does not come up.

        Raises:
            UnavailableError: it did not, or died again and again.
        """
        while not self._stopping.is_set():
            self._end_process()
            if self._num_restarts == _MAX_RESTARTS:
                raise UnavailableError(
                    f"gave up after {_MAX_RESTARTS} restarts in a row: {reason}; log: {self.log_path}"
                )
            self._num_restarts += 1
            self._log(f"{reason}; restarting the server")
            started_s = time.monotonic()
            try:
                self._start_process()
            except (TridentError, OSError) as exc:
                reason = str(exc)
                self._stopping.wait(_PAUSE_S)
                continue
            if not self._stopping.is_set():
                self._log(f"serving again after {time.monotonic() - started_s:.1f} s")
            return
