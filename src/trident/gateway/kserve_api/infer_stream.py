"""One `ModelStreamInfer` call: any number of requests on it, answered side by side; a response has its request's id.

It does not know who may open one (`service.py`).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
from tritonclient.grpc import service_pb2

from trident.errors import DeadlineExceededError
from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.gateway import new_request_id
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.asked_tensors import is_stop, read_tensors
from trident.gateway.kserve_api.kserve import Kserve, KserveExchange
from trident.gateway.kserve_api.protobuf import read_message, response_of, wants_empty_final
from trident.gateway.kserve_api.statuses import as_headers, counted, error_text

METHOD = "ModelStreamInfer"
API = "kserve-grpc"
_MAX_RUNNING = 1024  # requests on one stream; more wait until one of them has ended


class InferStream:
    """Made in the call's own task, which ends when its client takes nothing or asks nothing for too long."""

    def __init__(self, kserve: Kserve, caller: Identity, context: Any) -> None:
        server = kserve.gateway.config.server
        self._kserve = kserve
        self._caller = caller
        self._context = context
        self._call = cast("asyncio.Task[Any]", asyncio.current_task())
        self._clock = asyncio.get_running_loop().time
        self._running: set[asyncio.Task[None]] = set()
        self._quiet_since = self._clock()  # while nothing runs
        self._idle_s = server.stream_idle_s
        self._lock = asyncio.Lock()  # gRPC takes one message at a time
        self._write_timeout_s = server.write_timeout_s
        self._headers = as_headers(context)
        self._wants_status = self._headers.get("triton_grpc_error") == "true"
        self.failure: tuple[Exception, str] | None = None  # the first, where the client wants a status of it

    async def answer_all(self) -> None:
        """Until the client asks no more and has every answer.

        Raises:
            DeadlineExceededError: it asked nothing for `server.stream_idle_s`, in which nothing was answered either.
        """
        try:
            while (request := await self._next()) is not grpc.aio.EOF:
                if len(self._running) >= _MAX_RUNNING:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.ensure_future(self._answer(request))
                self._running.add(task)
                task.add_done_callback(self._ended)
            while self._running:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _next(self) -> Any:
        reading = asyncio.ensure_future(self._context.read())
        try:
            while not (await asyncio.wait((reading,), timeout=self._idle_s))[0]:
                if not self._running and self._clock() - self._quiet_since >= self._idle_s:
                    raise DeadlineExceededError(f"nothing was asked for {self._idle_s:g} s; open another stream")
        finally:
            reading.cancel()
        return reading.result()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._quiet_since = self._clock()
        if not task.cancelled() and task.exception() is not None:
            self._call.cancel()  # it could not even be told of

    async def _answer(self, request: Any) -> None:
        """All responses to one request, or its error, which leaves the others alone."""
        request_id = new_request_id()
        try:
            with counted(self._kserve.gateway.metrics, METHOD):
                await self._generate(request, request_id)
        except Exception as exc:  # noqa: BLE001 - as in `Service._answered`
            if self._wants_status:
                self.failure = self.failure or (exc, request_id)
                return
            message = service_pb2.ModelStreamInferResponse(error_message=error_text(exc, request_id))
            message.infer_response.id = request.id
            await self._write(message)

    async def _generate(self, request: Any, request_id: str) -> None:
        tensors, outputs = read_message(request)
        if is_stop(tensors):
            await self._kserve.live.stop(self._caller.tenant, request.id)
            await self._write_response(response_of(request, (), is_last=True))
            return
        self._kserve.check_model(self._caller, request.model_name, request.model_version)
        asked = read_tensors(tensors, outputs)
        async with KserveExchange(
            self._kserve, self._caller, request_id, request.model_name, asked, api=API, client_id=request.id,
            cache=cache_wish_of(self._headers), cache_tags=cache_tags_of(self._headers),
        ) as exchange:  # fmt: skip
            async for found, is_last in exchange.responses():
                if found or wants_empty_final(request):
                    await self._write_response(response_of(request, found, is_last=is_last))

    async def _write_response(self, response: Any) -> None:
        await self._write(service_pb2.ModelStreamInferResponse(infer_response=response))

    async def _write(self, message: Any) -> None:
        """A client that takes nothing for so long is let go, and what it had asked for with it."""
        async with self._lock:
            timer = asyncio.get_running_loop().call_later(self._write_timeout_s, self._call.cancel)
            try:
                await self._context.write(message)
            finally:
                timer.cancel()
