"""The model `tensorrt_llm`: one instance, which hands requests to the engine and returns at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from trident.contract import ENGINE
from trident.engines.base import Engine
from trident.engines.completion import Chunk
from trident.engines.parameters import read_generations
from trident.engines.telemetry import Telemetry
from trident.errors import EngineError, InvalidRequestError, TridentError
from trident.manifest import Manifest, read_manifest
from trident.settings import read_settings
from trident.tensors import chunk_arrays
from trident.triton_adapter.engine_link import EngineLink
from trident.triton_adapter.metrics import EngineMetrics
from trident.triton_adapter.requests import (
    as_trident_error,
    input_arrays,
    outputs,
    request_parameters,
    timeout_s,
    to_triton_error,
)
from trident.triton_adapter.running_engine import RunningEngine, RunningEngines

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
ASK_S = 0.1  # between two questions whether an asker still listens; upstream's default
ASK_ENSEMBLE_S = 2.0
DRAIN_VARIABLE = "TRIDENT_DRAIN_FILE"  # once this file is there, nothing new is taken


class TritonReply:
    """Sends the responses of one request to Triton."""

    def __init__(self, request: Any) -> None:
        self._sender = request.get_response_sender()
        self.ask_interval_s = ASK_S

    def send(self, chunk: Chunk, is_final: bool) -> None:
        """See Reply.send."""
        try:
            self._sender.send(pb_utils.InferenceResponse(outputs(chunk_arrays(chunk))), flags=FINAL if is_final else 0)
        except pb_utils.TritonModelException as exc:
            if not self._sender.is_cancelled():  # else the asker left, and the poll notices it
                pb_utils.Logger.log_error(f"a response could not be sent: {exc}")
                raise EngineError("a response could not be sent; see the server's log") from exc

    def fail(self, error: TridentError) -> None:
        """See Reply.fail."""
        try:
            self._sender.send(pb_utils.InferenceResponse(error=to_triton_error(error)), flags=FINAL)
        except Exception as exc:  # noqa: BLE001 - the asker left; nothing may keep the others from being told
            pb_utils.Logger.log_info(f"an error could not be sent: {exc}")

    def is_cancelled(self) -> bool:
        """See Reply.is_cancelled."""
        return bool(self._sender.is_cancelled())

    def end(self) -> None:
        """End the request with an empty response, as upstream answers `stop`."""
        self._sender.send(flags=FINAL)


def _exit_for_the_watchdog() -> None:
    pb_utils.Logger.log_error("the engine is gone; the model process ends, so that the watchdog starts it again")
    os._exit(1)


class EngineModel:
    """Token ids to token ids."""

    def __init__(self, args: dict[str, str]) -> None:
        settings = read_settings()
        self._default_timeout_s = settings.request_timeout_s
        drain_file = os.environ.get(DRAIN_VARIABLE)
        self._drain_file = Path(drain_file) if drain_file else None
        self._telemetry = Telemetry()
        self._link = EngineLink(args)
        self._engines = RunningEngines(
            lambda directory: RunningEngine(directory, settings, self._telemetry, _exit_for_the_watchdog),
            self._link.directory,
        )
        self._telemetry.know(self._engines.newest.manifest.loras)
        self._metrics = EngineMetrics(args, self._newest, self._telemetry, self._engines.load)
        self._link.follow(self._take_in)

    def _newest(self) -> tuple[Engine, Manifest]:
        newest = self._engines.newest
        return newest.engine, newest.manifest

    def _take_in(self, directory: Path) -> None:
        self._telemetry.know(read_manifest(directory).loras)
        self._engines.replace(directory)

    def execute(self, requests: list[Any]) -> None:
        """Admit each request; its responses follow from the dispatcher's thread."""
        for request in requests:
            reply = TritonReply(request)
            try:
                self._admit(request, reply)
            except Exception as exc:  # noqa: BLE001 - see as_trident_error
                error = as_trident_error(exc)
                self._telemetry.rejected(error)
                reply.fail(error)

    def _admit(self, request: Any, reply: TritonReply) -> None:
        parameters = request_parameters(request)
        tensors = input_arrays(request, ENGINE)
        if "stop" in tensors and tensors["stop"].any():
            if not request.request_id():
                raise InvalidRequestError("stop needs the id of the request to end")
            self._engines.cancel(request.request_id())
            reply.end()
            return
        if self._drain_file is not None and self._drain_file.exists():
            self._engines.drain()
        if "text_options" in tensors:  # preprocessing's; through an ensemble no cancel reaches us (2.51)
            reply.ask_interval_s = ASK_ENSEMBLE_S
        limit_s = min(timeout_s(request, parameters) or self._default_timeout_s, self._default_timeout_s)
        is_admitted = False
        while not is_admitted:  # false when another engine took over while the request was read
            engine = self._engines.newest
            generations = read_generations(tensors, engine.manifest)
            is_admitted = self._engines.submit(engine, request.request_id(), generations, reply, limit_s)

    def finalize(self) -> None:
        """Stop the engine; what still runs ends as cancelled."""
        self._link.close()
        self._engines.close()
        self._metrics.close()
