"""KServe v2 over gRPC: GRPCInferenceService, of which Triton's shared memory, repository, configuration, statistics,
trace and logging calls are not there, so that gRPC itself answers them UNIMPLEMENTED.

https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2

from trident.gateway.gateway import new_request_id
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.asked_tensors import is_stop, read_tensors
from trident.gateway.kserve_api.kserve import Kserve, KserveExchange, check_lone
from trident.gateway.kserve_api.metadata import SERVER
from trident.gateway.kserve_api.protobuf import read_message, response_of, wants_empty_final
from trident.gateway.kserve_api.statuses import abort, as_metadata, error_text

NAME = "inference.GRPCInferenceService"
_API = "kserve-grpc"
_MAX_RUNNING = 1024  # requests on one stream; more wait until one of them has ended


class Service:
    """Its methods have the protocol's names; `handlers` says which there are."""

    def __init__(self, kserve: Kserve) -> None:
        self._kserve = kserve

    def handlers(self) -> Any:
        """For `grpc.aio.Server.add_generic_rpc_handlers`."""
        unary: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.model_infer,
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                method,
                getattr(service_pb2, f"{name}Request").FromString,
                getattr(service_pb2, f"{name}Response").SerializeToString,
            )
            for name, method in unary.items()
        }
        methods["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self.model_stream_infer,
            service_pb2.ModelInferRequest.FromString,
            service_pb2.ModelStreamInferResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(NAME, methods)

    async def server_live(self, _request: Any, _context: Any) -> Any:
        """The process answers; nobody is asked for a key."""
        return service_pb2.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Any, _context: Any) -> Any:
        """Whether requests are to be sent here; nobody is asked for a key."""
        return service_pb2.ServerReadyResponse(ready=await self._kserve.is_ready())

    async def model_ready(self, request: Any, context: Any) -> Any:
        """A deployment behind the model can answer."""

        async def answer(caller: Identity, _: str) -> Any:
            is_ready = await self._kserve.is_model_ready(caller, request.name, request.version)
            return service_pb2.ModelReadyResponse(ready=is_ready)

        return await self._answered(context, answer)

    async def server_metadata(self, _request: Any, context: Any) -> Any:
        """What answers here."""

        async def answer(_caller: Identity, _: str) -> Any:
            return ParseDict(SERVER, service_pb2.ServerMetadataResponse())

        return await self._answered(context, answer)

    async def model_metadata(self, request: Any, context: Any) -> Any:
        """The tensors of a model."""

        async def answer(caller: Identity, _: str) -> Any:
            found = self._kserve.metadata(caller, request.name, request.version)
            return ParseDict(found, service_pb2.ModelMetadataResponse())

        return await self._answered(context, answer)

    async def model_infer(self, request: Any, context: Any) -> Any:
        """One whole answer; several responses only a stream can carry."""

        async def answer(caller: Identity, request_id: str) -> Any:
            tensors, outputs = read_message(request)
            if is_stop(tensors):
                await self._kserve.live.stop(caller.tenant, request.id)
                return response_of(request, ())
            self._kserve.check_model(caller, request.model_name, request.model_version)
            asked = read_tensors(tensors, outputs)
            check_lone(asked, "ModelStreamInfer")
            async with KserveExchange(
                self._kserve, caller, request_id, request.model_name, asked, api=_API, client_id=request.id
            ) as exchange:
                found = await exchange.lone_response()
            context.set_trailing_metadata((("x-request-id", request_id), *as_metadata(exchange.headers())))
            return response_of(request, found)

        return await self._answered(context, answer)

    async def model_stream_infer(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Any number of requests, answered side by side; each response says by its id whose it is."""
        request_id = new_request_id()
        try:
            caller = await self._caller(context)
        except Exception as exc:  # noqa: BLE001 - as in `_answered`
            await abort(context, exc, request_id)
        call = cast("asyncio.Task[Any]", asyncio.current_task())
        stream = _Stream(self._kserve, caller, context, call)
        running: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not task.cancelled() and task.exception() is not None:
                call.cancel()  # it could not even be told of

        try:
            async for request in requests:
                if len(running) >= _MAX_RUNNING:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.ensure_future(stream.answer(request))
                running.add(task)
                task.add_done_callback(ended)
            while running:
                await asyncio.wait(running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if stream.failure is not None:
            await abort(context, *stream.failure)

    async def _answered(self, context: Any, answer: Callable[[Identity, str], Awaitable[Any]]) -> Any:
        """What `answer` gives to the caller and the request's id, or the status of its error."""
        request_id = new_request_id()
        try:
            return await answer(await self._caller(context), request_id)
        except Exception as exc:  # noqa: BLE001 - the seam: whatever it is becomes a status, and nothing of its text leaves
            await abort(context, exc, request_id)

    async def _caller(self, context: Any) -> Identity:
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        identity = await self._kserve.gateway.authenticator.authenticate(headers, _address(context.peer()))
        identity.check_endpoint("kserve")
        return identity


class _Stream:
    """One `ModelStreamInfer` call, to which several tasks write."""

    def __init__(self, kserve: Kserve, caller: Identity, context: Any, call: asyncio.Task[Any]) -> None:
        self._kserve = kserve
        self._caller = caller
        self._context = context
        self._call = call
        self._lock = asyncio.Lock()  # gRPC takes one message at a time
        self._write_timeout_s = kserve.gateway.config.server.write_timeout_s
        self._wants_status = dict(context.invocation_metadata()).get("triton_grpc_error") == "true"
        self.failure: tuple[Exception, str] | None = None  # the first, where the client wants a status of it

    async def answer(self, request: Any) -> None:
        """All responses to one request, or its error, which leaves the others alone."""
        request_id = new_request_id()
        try:
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
            self._kserve, self._caller, request_id, request.model_name, asked, api=_API, client_id=request.id
        ) as exchange:
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


def _address(peer: str) -> str:
    """Of "ipv4:127.0.0.1:1234" or "ipv6:[::1]:1234" the host."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return host.strip("[]").replace("%5B", "").replace("%5D", "")
