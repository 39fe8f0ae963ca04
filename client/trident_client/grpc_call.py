"""One request over gRPC: a `ModelStreamInfer` call of its own, opened as one that takes a single message.

On the wire it is the bidirectional call that it is for Triton. But metadata and message leave at once: in grpc.aio a
message that is written by itself, to a server that has already refused the call, hides why it was refused.

Triton would give a failed stream a real status if asked (metadata `triton_grpc_error: true`), but release
24.10 then dies of a segmentation fault at the next request, so it is not asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import grpc

from trident.errors import CODES, EngineError, InvalidRequestError, QueueFullError, TridentError, UnavailableError
from trident_client.completion import Delta
from trident_client.failure import closed, cut_off, error_of, error_of_text, not_triton, unreachable
from trident_client.protobuf_format import is_final, new_decoders, to_delta, to_message
from trident_client.request import Request

_END_TIMEOUT_S = 1.0  # a server that does not end a stream after its final response is not waited for

# How gRPC itself, not Triton, words an UNAVAILABLE.
_CONNECTION = re.compile(
    r"connect|socket|recvmsg|GOAWAY|DNS|transport|endpoint|broken pipe|watchdog|handshake|stream removed", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"message larger than max|larger than max", re.IGNORECASE)


class GrpcCall:
    """A `Call` over gRPC."""

    def __init__(
        self,
        stream: Callable[..., Any],
        request: Request,
        target: str,
        metadata: tuple[tuple[str, str], ...],
        max_message_bytes: int,
    ) -> None:
        self._stream = stream
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
                self._send()
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

    def _send(self) -> None:
        message = to_message(self._request)
        if 0 <= self._max_message_bytes < (size := message.ByteSize()):  # grpc.aio says "internal error" to that
            raise _too_large(f"the request is larger than max_message_bytes ({size} > {self._max_message_bytes})")
        self._call = self._stream(message, metadata=self._metadata)

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
