"""KServe v2 over gRPC: GRPCInferenceService, of which Triton's shared memory, repository, configuration, statistics,
trace and logging calls are not there, so that gRPC itself answers them UNIMPLEMENTED.

https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2

from trident.errors import RateLimitError
from trident.gateway.cache.wish import cache_tags_of, cache_wish_of
from trident.gateway.gateway import new_request_id
from trident.gateway.identity import Identity
from trident.gateway.kserve_api.asked_tensors import is_stop, read_tensors
from trident.gateway.kserve_api.infer_stream import API, METHOD, InferStream
from trident.gateway.kserve_api.kserve import Kserve, KserveExchange, check_lone
from trident.gateway.kserve_api.metadata import SERVER
from trident.gateway.kserve_api.protobuf import read_message, response_of
from trident.gateway.kserve_api.statuses import abort, as_headers, as_metadata, counted, status_of

NAME = "inference.GRPCInferenceService"
_TENANTS_SHARE = 4  # of all calls at once a tenant may have a fourth as streams, so that those it forgot stop nobody


class Service:
    """Its methods have the protocol's names; `handlers` says which there are."""

    def __init__(self, kserve: Kserve) -> None:
        self._kserve = kserve
        self._metrics = kserve.gateway.metrics
        self._num_streams: Counter[str] = Counter()  # that are open, by tenant
        self._max_streams = max(1, kserve.gateway.config.server.max_connections // _TENANTS_SHARE)

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
        methods[METHOD] = grpc.stream_stream_rpc_method_handler(
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

        return await self._answered(context, "ModelReady", answer)

    async def server_metadata(self, _request: Any, context: Any) -> Any:
        """What answers here."""

        async def answer(_caller: Identity, _: str) -> Any:
            return ParseDict(SERVER, service_pb2.ServerMetadataResponse())

        return await self._answered(context, "ServerMetadata", answer)

    async def model_metadata(self, request: Any, context: Any) -> Any:
        """The tensors of a model."""

        async def answer(caller: Identity, _: str) -> Any:
            found = self._kserve.metadata(caller, request.name, request.version)
            return ParseDict(found, service_pb2.ModelMetadataResponse())

        return await self._answered(context, "ModelMetadata", answer)

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
            headers = as_headers(context)
            async with KserveExchange(
                self._kserve, caller, request_id, request.model_name, asked, api=API, client_id=request.id,
                cache=cache_wish_of(headers), cache_tags=cache_tags_of(headers),
            ) as exchange:  # fmt: skip
                found = await exchange.lone_response()
            context.set_trailing_metadata((("x-request-id", request_id), *as_metadata(exchange.headers())))
            return response_of(request, found)

        return await self._answered(context, "ModelInfer", answer)

    async def model_stream_infer(self, _requests: Any, context: Any) -> None:
        """As `InferStream`, which reads the requests by itself; its failures are counted here, its answers there."""
        request_id = new_request_id()
        try:
            caller = await self._caller(context)
            with self._place_of(caller.tenant):
                stream = InferStream(self._kserve, caller, context)
                await stream.answer_all()
        except Exception as exc:  # noqa: BLE001 - as in `_answered`
            self._metrics.rpc_answered(METHOD, status_of(exc))
            await abort(context, exc, request_id)
        if stream.failure is not None:
            await abort(context, *stream.failure)

    @contextmanager
    def _place_of(self, tenant: str) -> Iterator[None]:
        """Raises RateLimitError: the tenant has too many streams open."""
        if self._num_streams[tenant] >= self._max_streams:
            raise RateLimitError(f"this tenant has {self._max_streams} streams open; ask on those, or close some")
        self._num_streams[tenant] += 1
        try:
            yield
        finally:
            self._num_streams[tenant] -= 1
            if not self._num_streams[tenant]:
                del self._num_streams[tenant]

    async def _answered(self, context: Any, method: str, answer: Callable[[Identity, str], Awaitable[Any]]) -> Any:
        """What `answer` gives to the caller and the request's id, or the status of its error."""
        request_id = new_request_id()
        try:
            with counted(self._metrics, method):
                return await answer(await self._caller(context), request_id)
        except Exception as exc:  # noqa: BLE001 - the seam: whatever it is becomes a status, and nothing of its text leaves
            await abort(context, exc, request_id)

    async def _caller(self, context: Any) -> Identity:
        identity = await self._kserve.gateway.authenticator.authenticate(as_headers(context), _address(context.peer()))
        identity.check_endpoint("kserve")
        return identity


def _address(peer: str) -> str:
    """Of "ipv4:127.0.0.1:1234" or "ipv6:[::1]:1234" the host."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return host.strip("[]").replace("%5B", "").replace("%5D", "")
