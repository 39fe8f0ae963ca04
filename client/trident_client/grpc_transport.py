"""gRPC: all requests to one server on one channel. A generation is a `GrpcCall`; all else is asked here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import grpc
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trident.errors import TridentError, UnavailableError
from trident_client.connection import Connection, Tls, is_encrypted, read_pem
from trident_client.embedding import Embeddings
from trident_client.failure import not_triton
from trident_client.grpc_call import GrpcCall, translated
from trident_client.protobuf_format import to_embeddings, to_message, to_outputs
from trident_client.request import Request
from trident_client.transport import SHORT_TIMEOUT_S, Outputs, is_loopback

T = TypeVar("T")


class GrpcTransport:
    """A `Transport` over gRPC. `url` is "host:port"; "grpc://" or "grpcs://" before it is allowed.

    Raises:
        SettingsError: a certificate cannot be read, or a header is none.
    """

    def __init__(self, url: str, connection: Connection) -> None:
        self._target = re.sub(r"^grpcs?://", "", url).rstrip("/")
        self._metadata = connection.all_headers()
        self._max_message_bytes = connection.max_message_bytes
        self._options = _options(self._target, connection)
        self._credentials = _credentials(connection.tls or Tls()) if is_encrypted(url, connection) else None
        self._channel: Any = None
        self._stub: Any = None
        self._calls: WeakSet[GrpcCall] = WeakSet()

    def open(self, request: Request) -> GrpcCall:
        """A call on the shared channel."""
        metadata = (*self._metadata, *request.headers)
        call = GrpcCall(self._connected().ModelStreamInfer, request, self._target, metadata, self._max_message_bytes)
        self._calls.add(call)
        return call

    async def infer(self, request: Request) -> Outputs:
        """`ModelInfer`."""
        return await self._infer(request, to_outputs)

    async def embed(self, request: Request) -> Embeddings:
        """Likewise."""
        return await self._infer(request, to_embeddings)

    async def is_live(self) -> bool:
        """`ServerLive`, False when it fails."""
        try:
            return bool((await self._ask("ServerLive", service_pb2.ServerLiveRequest())).live)
        except TridentError:
            return False

    async def is_ready(self, model: str) -> bool:
        """`ModelReady`, False when it fails."""
        try:
            return bool((await self._ask("ModelReady", service_pb2.ModelReadyRequest(name=model))).ready)
        except TridentError:
            return False

    async def config(self, model: str) -> Mapping[str, Any]:
        """`ModelConfig`."""
        config: Mapping[str, Any] = _to_json(
            await self._ask("ModelConfig", service_pb2.ModelConfigRequest(name=model))
        ).get("config", {})
        return config

    async def metadata(self, model: str) -> Mapping[str, Any]:
        """`ModelMetadata`."""
        return _to_json(await self._ask("ModelMetadata", service_pb2.ModelMetadataRequest(name=model)))

    async def statistics(self) -> Mapping[str, Any]:
        """`ModelStatistics` of all models."""
        return _to_json(await self._ask("ModelStatistics", service_pb2.ModelStatisticsRequest()))

    async def close(self) -> None:
        """Close the channel; calls in flight end."""
        for call in list(self._calls):
            await call.close()
        if self._channel is not None:
            await self._channel.close()

    async def _infer(self, request: Request, read: Callable[[Any], T]) -> T:
        answer = await self._ask("ModelInfer", to_message(request), request.headers, timeout_s=None)
        try:
            return read(answer)
        except ValueError as exc:
            raise not_triton(self._target, str(exc), "gRPC") from exc

    async def _ask(
        self,
        method: str,
        message: Any,
        headers: tuple[tuple[str, str], ...] = (),
        timeout_s: float | None = SHORT_TIMEOUT_S,
    ) -> Any:
        call = getattr(self._connected(), method)
        try:
            return await call(message, timeout=timeout_s, metadata=(*self._metadata, *headers))
        except grpc.aio.AioRpcError as exc:
            raise translated(exc, self._target, has_begun=False) from exc
        except grpc.aio.UsageError as exc:
            raise UnavailableError("the client was closed") from exc

    def _connected(self) -> Any:
        if self._stub is None:  # not in __init__: a channel belongs to the loop that is running when it is made
            if self._credentials is None:
                self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
            else:
                self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=self._options)
            self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            self._stub.ModelStreamInfer = self._channel.unary_stream(  # see grpc_call.py
                "/inference.GRPCInferenceService/ModelStreamInfer",
                service_pb2.ModelInferRequest.SerializeToString,
                service_pb2.ModelStreamInferResponse.FromString,
            )
        return self._stub


def _options(target: str, connection: Connection) -> tuple[tuple[str, int | str], ...]:
    timeout_ms = int(1000 * connection.connect_timeout_s)
    ping_timeout_ms = int(1000 * connection.keepalive_timeout_s)
    options: tuple[tuple[str, int | str], ...] = (
        ("grpc.max_receive_message_length", connection.max_message_bytes),
        ("grpc.max_send_message_length", connection.max_message_bytes),
        ("grpc.min_reconnect_backoff_ms", timeout_ms),  # which is how long one attempt may take
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),  # a restarted server is found again soon
        ("grpc.keepalive_time_ms", int(1000 * connection.keepalive_s)),
        ("grpc.keepalive_timeout_ms", ping_timeout_ms),
        ("grpc.http2.ping_timeout_ms", ping_timeout_ms),  # of any ping; by default a minute
        ("grpc.http2.max_pings_without_data", 0),  # any number; by default one a minute after the first two
        ("grpc.enable_http_proxy", int(not is_loopback(target))),
        ("grpc.use_local_subchannel_pool", 1),  # this client's connections are its own
    )
    name = connection.tls.server_name if connection.tls else None
    return (*options, ("grpc.ssl_target_name_override", name)) if name else options


def _credentials(tls: Tls) -> Any:
    return grpc.ssl_channel_credentials(read_pem(tls.ca_file), read_pem(tls.key_file), read_pem(tls.cert_file))


def _to_json(message: Any) -> Mapping[str, Any]:
    values: Mapping[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return values
