"""gRPC: one bidirectional `ModelStreamInfer` call per request, all calls on one channel.

Triton would give a failed stream a real status if asked (metadata `triton_grpc_error: true`), but release
24.10 then dies of a segmentation fault at the next request, so it is not asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import grpc
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trident.errors import CODES, EngineError, InvalidRequestError, QueueFullError, TridentError, UnavailableError
from trident_client.completion import Delta
from trident_client.connection import Connection, Tls, is_encrypted, read_pem
from trident_client.embedding import Embeddings
from trident_client.failure import closed, cut_off, error_of, error_of_text, not_triton, unreachable
from trident_client.protobuf_format import is_final, new_decoders, to_delta, to_embeddings, to_message, to_outputs
from trident_client.request import Request
from trident_client.transport import SHORT_TIMEOUT_S, Outputs, is_loopback

T = TypeVar("T")
_END_TIMEOUT_S = 1.0  # a server that does not end a stream after its final response is not waited for

# How gRPC itself, not Triton, words an UNAVAILABLE.
_CONNECTION = re.compile(
    r"connect|socket|recvmsg|GOAWAY|DNS|transport|endpoint|broken pipe|watchdog|handshake|stream removed", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"message larger than max|larger than max", re.IGNORECASE)


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
        call = GrpcCall(self._connected(), request, self._target, metadata, self._max_message_bytes)
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
        metadata = (*self._metadata, *request.headers)
        try:
            return read(await self._connected().ModelInfer(to_message(request), metadata=metadata))
        except grpc.aio.AioRpcError as exc:
            raise translated(exc, self._target, has_begun=False) from exc
        except grpc.aio.UsageError as exc:
            raise UnavailableError("the client was closed") from exc
        except ValueError as exc:
            raise not_triton(self._target, str(exc), "gRPC") from exc

    async def _ask(self, method: str, message: Any) -> Any:
        call = getattr(self._connected(), method)
        try:
            return await call(message, timeout=SHORT_TIMEOUT_S, metadata=self._metadata)
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
        return self._stub


class GrpcCall:
    """A `Call` over gRPC."""

    def __init__(
        self,
        stub: Any,
        request: Request,
        target: str,
        metadata: tuple[tuple[str, str], ...],
        max_message_bytes: int,
    ) -> None:
        self._stub = stub
        self._request = request
        self._target = target
        self._metadata = metadata
        self._max_message_bytes = max_message_bytes
        self._call: Any = None
        self._decoders = new_decoders()
        self._has_begun = False  # a response has come
        self._is_final = False  # the last one has
        self._is_closed = False

    async def read(self) -> Delta | None:
        """The next delta. What comes for another request, or after a final response, is dropped."""
        try:
            if self._call is None:
                await self._send()
            while not self._is_final:
                message = await self._call.read()
                if message is grpc.aio.EOF:
                    raise cut_off(self._target, "the stream ended without a final response")
                if message.error_message:
                    raise error_of_text(message.error_message, has_begun=self._has_begun)
                delta = self._delta_in(message.infer_response)
                if delta is not None:
                    return delta
            await self._end()
        except grpc.aio.AioRpcError as exc:
            raise translated(exc, self._target, has_begun=self._has_begun) from exc
        except grpc.aio.UsageError as exc:
            raise UnavailableError("the client was closed") from exc
        except asyncio.CancelledError as exc:  # so grpc.aio says in the reader that the call was closed elsewhere
            if self._is_closed:
                raise closed() from exc
            raise
        return None

    async def close(self) -> None:
        """Cancel the call if it still runs."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()

    async def _send(self) -> None:
        message = to_message(self._request)
        if 0 <= self._max_message_bytes < (size := message.ByteSize()):  # grpc.aio says "internal error" to that
            raise _too_large(f"the request is larger than max_message_bytes ({size} > {self._max_message_bytes})")
        self._call = self._stub.ModelStreamInfer(metadata=self._metadata)
        await self._call.write(message)
        await self._call.done_writing()

    def _delta_in(self, response: Any) -> Delta | None:
        if response.id and response.id != self._request.id:
            return None
        self._has_begun = True
        self._is_final = is_final(response)
        try:
            return to_delta(response, self._decoders, is_last=self._is_final)
        except ValueError as exc:
            raise not_triton(self._target, str(exc), "gRPC") from exc

    async def _end(self) -> None:
        reading = asyncio.create_task(self._read_to_end())  # `asyncio.wait_for` can lose a cancel before Python 3.12
        try:
            done, _ = await asyncio.wait([reading], timeout=_END_TIMEOUT_S)
            if done:
                reading.result()
            else:
                self._call.cancel()
        finally:
            reading.cancel()

    async def _read_to_end(self) -> None:
        while await self._call.read() is not grpc.aio.EOF:
            pass


def translated(exc: Any, target: str, *, has_begun: bool) -> TridentError:
    """The one place where an error of gRPC becomes one of ours. `has_begun`: a response came before."""
    status, text = exc.code().name, exc.details() or ""
    if status == "UNAVAILABLE" and _CONNECTION.search(text):
        return cut_off(target, text) if has_begun else unreachable(target, text)
    if status == "RESOURCE_EXHAUSTED" and _TOO_LARGE.search(text):
        return _too_large(text)
    among = [leaf for leaf, codes in CODES.items() if codes.grpc == status]
    default = UnavailableError if QueueFullError in among else among[0] if among else EngineError
    return error_of(text, among, default)


def _too_large(text: str) -> InvalidRequestError:
    return InvalidRequestError(f"{text}; raise the limit (max_message_bytes here), or send and ask for less")


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
