"""HTTP: one POST per request, to `generate` for one answer or `generate_stream` for server-sent events."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote
from urllib.request import getproxies

import httpx

from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    QuotaError,
    RateLimitError,
    RequestTooLargeError,
    SettingsError,
    TridentError,
    UnavailableError,
    UnsupportedParameterError,
)
from trident_client.completion import Delta
from trident_client.connection import Connection, Tls, is_encrypted
from trident_client.embedding import Embeddings
from trident_client.failure import ANY, closed, cut_off, error_of, error_of_text, not_triton, unreachable
from trident_client.json_format import (
    EventSplitter,
    error_text,
    to_body,
    to_delta,
    to_embeddings,
    to_infer_body,
    to_object,
    to_outputs,
)
from trident_client.request import Request
from trident_client.transport import SHORT_TIMEOUT_S, Outputs, is_loopback

T = TypeVar("T")
_HEADERS = (("content-type", "application/json"), ("accept-encoding", "identity"))
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=128)
_DONE = b"[DONE]"  # how a gateway in OpenAI's manner ends a stream

# HTTP status -> leaves that it may stand for; the first when the wording says nothing.
_LEAVES: dict[int, tuple[type[TridentError], ...]] = {
    400: (InvalidRequestError, *ANY),  # release 24.10 answers so whatever went wrong
    401: (AuthenticationError,),
    403: (PermissionDeniedError,),
    404: (NotFoundError,),
    408: (DeadlineExceededError,),
    413: (RequestTooLargeError,),
    429: (RateLimitError, QuotaError),
    500: (EngineError, InvalidRequestError),  # a value of the wrong JSON type is a 500
    501: (UnsupportedParameterError,),
    502: (UnavailableError,),  # of a gateway
    503: (UnavailableError, QueueFullError),
    504: (UnavailableError,),
}


class HttpTransport:
    """A `Transport` over HTTP. `url` is "host:port" or begins with "http://" or "https://".

    Raises:
        SettingsError: the address, a certificate or a header is wrong.
    """

    def __init__(self, url: str, connection: Connection) -> None:
        scheme = "https" if is_encrypted(url, connection) else "http"
        self._url = url.rstrip("/") if "://" in url else f"{scheme}://{url.rstrip('/')}"
        name = connection.tls.server_name if connection.tls else None
        self._extensions = {"sni_hostname": name} if name else {}
        # Where a proxy is between, its connections are httpx's own affair.
        is_direct = is_loopback(self._url) or not getproxies()
        verify = ssl_context(connection.tls or Tls()) if self._url.startswith("https:") else False
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *_keepalive(int(connection.keepalive_s))]
        wire = httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_LIMITS, socket_options=options)
        try:
            self._client = httpx.AsyncClient(
                base_url=self._url,
                headers=connection.all_headers(),
                # An answer takes as long as it takes.
                timeout=httpx.Timeout(None, connect=connection.connect_timeout_s),
                limits=_LIMITS,
                verify=verify,
                trust_env=not is_direct,
                transport=wire if is_direct else None,
            )
        except httpx.InvalidURL as exc:
            raise SettingsError(f"'{url}' is not an address: {exc}; give host:port") from exc

    def open(self, request: Request) -> HttpCall:
        """A call on a connection of the pool."""
        return HttpCall(self._client, request, self._url, self._extensions)

    async def infer(self, request: Request) -> Outputs:
        """POST the model's `infer`, KServe v2 in JSON."""
        return await self._infer(request, to_outputs)

    async def embed(self, request: Request) -> Embeddings:
        """Likewise."""
        return await self._infer(request, to_embeddings)

    async def is_live(self) -> bool:
        """GET `/v2/health/live`, False when it fails."""
        return await self._is_well("/v2/health/live")

    async def is_ready(self, model: str) -> bool:
        """GET the model's `ready`, False when it fails."""
        return await self._is_well(f"{_path(model)}/ready")

    async def config(self, model: str) -> Mapping[str, Any]:
        """GET the model's `config`."""
        return await self._get(f"{_path(model)}/config")

    async def metadata(self, model: str) -> Mapping[str, Any]:
        """GET the model."""
        return await self._get(_path(model))

    async def statistics(self) -> Mapping[str, Any]:
        """GET `/v2/models/stats`."""
        return await self._get("/v2/models/stats")

    async def close(self) -> None:
        """Close the pool; calls in flight end."""
        await self._client.aclose()

    async def _infer(self, request: Request, read: Callable[[dict[str, Any]], T]) -> T:
        headers = [*_HEADERS, *request.headers]
        path = f"{_path(request.model)}/infer"
        try:
            response = await self._client.post(
                path, content=to_infer_body(request), headers=headers, extensions=self._extensions
            )
        except httpx.TransportError as exc:
            raise unreachable(self._url, str(exc) or type(exc).__name__) from exc
        except RuntimeError as exc:  # so httpx says that its client was closed
            raise UnavailableError("the client was closed") from exc
        if response.status_code != HTTPStatus.OK:
            raise _error_of_status(response.status_code, response.content)
        try:
            return read(to_object(response.content))
        except ValueError as exc:
            raise not_triton(self._url, str(exc), "HTTP") from exc

    async def _is_well(self, path: str) -> bool:
        try:
            await self._get(path)
        except TridentError:
            return False
        return True

    async def _get(self, path: str) -> Mapping[str, Any]:
        """The JSON object there; an empty one for an empty body."""
        try:
            response = await self._client.get(path, timeout=SHORT_TIMEOUT_S, extensions=self._extensions)
        except httpx.TransportError as exc:
            raise unreachable(self._url, str(exc) or type(exc).__name__) from exc
        except RuntimeError as exc:  # so httpx says that its client was closed
            raise UnavailableError("the client was closed") from exc
        if response.status_code != HTTPStatus.OK:
            raise _error_of_status(response.status_code, response.content)
        try:
            return to_object(response.content) if response.content else {}
        except ValueError as exc:
            raise not_triton(self._url, str(exc), "HTTP") from exc


class HttpCall:
    """A `Call` over HTTP."""

    def __init__(self, client: httpx.AsyncClient, request: Request, url: str, extensions: Mapping[str, Any]) -> None:
        self._client = client
        self._request = request
        self._url = url
        self._extensions = extensions
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes]
        self._splitter = EventSplitter()
        self._events: deque[bytes] = deque()
        self._has_begun = False  # a response has come
        self._is_closed = False

    async def read(self) -> Delta | None:
        """The next delta; the end of the stream is the end of the body."""
        try:
            if self._response is None:
                self._response = await self._send()
                self._pieces = self._response.aiter_raw()
            while (event := await self._next_event()) is not None:
                delta = self._parsed(event)
                if delta is not None:
                    return delta
        except (httpx.TransportError, httpx.StreamError, RuntimeError) as exc:
            raise self._translated(exc) from exc
        return None

    async def close(self) -> None:
        """Close the connection if the body has not been read to its end."""
        self._is_closed = True
        if self._response is not None:
            await self._response.aclose()

    async def _send(self) -> httpx.Response:
        verb = "generate_stream" if self._request.is_streaming else "generate"
        request = self._client.build_request(
            "POST",
            f"{_path(self._request.model)}/{verb}",
            content=to_body(self._request),
            headers=[*_HEADERS, *self._request.headers],
            extensions={**self._extensions},
        )
        response = await self._client.send(request, stream=True)
        if response.status_code != HTTPStatus.OK:
            raise _error_of_status(response.status_code, await response.aread())
        return response

    async def _next_event(self) -> bytes | None:
        """The next payload: an event of a stream, or the whole body of a single answer."""
        while not self._events:
            piece = await anext(self._pieces, None)
            if piece is None:
                rest, self._splitter.rest = self._splitter.rest, b""
                if rest and self._request.is_streaming:
                    raise cut_off(self._url, "the last event is incomplete")
                return rest or None
            if self._request.is_streaming:
                self._events.extend(self._splitter.feed(piece))
            else:
                self._splitter.rest += piece
        return self._events.popleft()

    def _parsed(self, payload: bytes) -> Delta | None:
        if payload == _DONE:
            return None
        try:
            answer = to_object(payload)
            if "error" not in answer:
                self._has_begun = True
                return to_delta(answer)
        except ValueError as exc:
            raise not_triton(self._url, str(exc), "HTTP") from exc
        raise error_of_text(error_text(answer), has_begun=self._has_begun)

    def _translated(self, exc: Exception) -> TridentError:
        """The one place where an error of the connection becomes one of ours."""
        if self._is_closed or isinstance(exc, httpx.StreamError):
            return closed()
        if isinstance(exc, RuntimeError):  # so httpx says that its client was closed
            return UnavailableError("the client was closed")
        detail = str(exc) or type(exc).__name__
        return unreachable(self._url, detail) if self._response is None else cut_off(self._url, detail)


def _error_of_status(status: int, body: bytes) -> TridentError:
    """The one place where an HTTP status becomes an error of ours."""
    try:
        text = error_text(to_object(body.strip().removeprefix(b"data:")))  # generate_stream wraps even a refusal
    except (ValueError, KeyError):
        text = f"HTTP status {status}"
    among = _LEAVES.get(status, (EngineError,))
    return error_of(text, among, among[0])


def _path(model: str) -> str:
    return f"/v2/models/{quote(model, safe='')}"


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """That of httpx for these certificates.

    Raises:
        SettingsError: a file that cannot be read, or is no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsError(f"the certificates {tls.ca_file}, {tls.cert_file} cannot be used: {exc}") from exc
    return context


def _keepalive(seconds: int) -> list[tuple[int, int, int]]:
    """When the kernel begins to ask whether the other end is there, where the system lets us say so."""
    return [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)] if hasattr(socket, "TCP_KEEPIDLE") else []
