"""The seam between the client and the wire: what a protocol must offer. Two do, gRPC and HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from trident.errors import InvalidRequestError
from trident_client.completion import Delta
from trident_client.connection import Connection
from trident_client.embedding import Embeddings
from trident_client.request import Request

ProtocolName = Literal["grpc", "http"]
Outputs = Mapping[str, tuple[Any, ...]]  # of a model, by name, row-major; texts as bytes
_LOOPBACK = re.compile(r"(?:\w+:///?)?(?:localhost|127(?:\.\d+){3}|\[?::1\]?)(?::\d+)?(?:/.*)?", re.IGNORECASE)
SHORT_TIMEOUT_S = 5.0  # of everything that is no inference


class Call(Protocol):
    """One request on its way. Nothing is sent before the first `read`."""

    async def read(self) -> Delta | None:
        """The next delta, or None after the last.

        Raises:
            TridentError: the call failed and is over.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection; what has not been read is lost. Does not tell the engine."""
        ...


class Transport(Protocol):
    """A connection to one server. It is opened by the first use, inside the running event loop."""

    def open(self, request: Request) -> Call:
        """A call that will send `request`."""
        ...

    async def infer(self, request: Request) -> Outputs:
        """The one answer of any model that gives one.

        Raises:
            TridentError: it failed.
        """
        ...

    async def embed(self, request: Request) -> Embeddings:
        """The answer to a request for vectors.

        Raises:
            TridentError: it failed.
        """
        ...

    async def is_live(self) -> bool:
        """Whether the server answers; False when it cannot be reached."""
        ...

    async def is_ready(self, model: str) -> bool:
        """Whether the server answers and `model` can take requests; False when it cannot be reached."""
        ...

    async def config(self, model: str) -> Mapping[str, Any]:
        """Triton's configuration of a model as JSON; raises a TridentError, as do the two below."""
        ...

    async def metadata(self, model: str) -> Mapping[str, Any]:
        """KServe v2's metadata of a model as JSON."""
        ...

    async def statistics(self) -> Mapping[str, Any]:
        """Triton's statistics of every model as JSON."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


def is_loopback(url: str) -> bool:
    """Whether `url` is this machine, for which no proxy is asked whatever `http_proxy` says."""
    return _LOOPBACK.fullmatch(url) is not None


def connect(url: str, protocol: ProtocolName, connection: Connection) -> Transport:
    """The transport of that name; its libraries are imported here, when it is known which.

    Raises:
        InvalidRequestError: no such protocol.
        SettingsError: the address, a certificate or a header is wrong.
    """
    if protocol == "grpc":
        from trident_client.grpc_transport import GrpcTransport  # noqa: PLC0415 - loads grpc

        return GrpcTransport(url, connection)
    if protocol == "http":
        from trident_client.http_transport import HttpTransport  # noqa: PLC0415 - loads httpx

        return HttpTransport(url, connection)
    raise InvalidRequestError(f"unknown protocol '{protocol}'; use 'grpc' or 'http'")
