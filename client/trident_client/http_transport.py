"""HTTP: one pool of connections to one server. A generation is an `HttpCall`; all else is asked here."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.request import getproxies

import httpx

from trident.errors import SettingsError, TridentError, UnavailableError
from trident_client.connection import Connection, Tls, is_encrypted
from trident_client.embedding import Embeddings
from trident_client.failure import not_triton, unreachable
from trident_client.http_call import HEADERS, HttpCall, error_of_status, path_of
from trident_client.json_format import to_embeddings, to_infer_body, to_object, to_outputs
from trident_client.request import Request
from trident_client.transport import SHORT_TIMEOUT_S, Outputs, is_loopback

T = TypeVar("T")
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=128)


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
        return await self._is_well(f"{path_of(model)}/ready")

    async def config(self, model: str) -> Mapping[str, Any]:
        """GET the model's `config`."""
        return await self._get(f"{path_of(model)}/config")

    async def metadata(self, model: str) -> Mapping[str, Any]:
        """GET the model."""
        return await self._get(path_of(model))

    async def statistics(self) -> Mapping[str, Any]:
        """GET `/v2/models/stats`."""
        return await self._get("/v2/models/stats")

    async def close(self) -> None:
        """Close the pool; calls in flight end."""
        await self._client.aclose()

    async def _infer(self, request: Request, read: Callable[[dict[str, Any]], T]) -> T:
        content = await self._ask(
            "POST",
            f"{path_of(request.model)}/infer",
            content=to_infer_body(request),
            headers=[*HEADERS, *request.headers],
        )
        return self._read(content, read)

    async def _is_well(self, path: str) -> bool:
        try:
            await self._get(path)
        except TridentError:
            return False
        return True

    async def _get(self, path: str) -> Mapping[str, Any]:
        """The JSON object there; an empty one for an empty body."""
        content = await self._ask("GET", path, timeout=SHORT_TIMEOUT_S)
        return self._read(content, dict) if content else {}

    async def _ask(self, method: str, path: str, **options: Any) -> bytes:
        """The whole body of an answer that is well."""
        try:
            response = await self._client.request(method, path, extensions=self._extensions, **options)
        except httpx.TransportError as exc:
            raise unreachable(self._url, str(exc) or type(exc).__name__) from exc
        except RuntimeError as exc:  # so httpx says that its client was closed
            raise UnavailableError("the client was closed") from exc
        if response.status_code != HTTPStatus.OK:
            raise error_of_status(response.status_code, response.content)
        return response.content

    def _read(self, content: bytes, read: Callable[[dict[str, Any]], T]) -> T:
        try:
            return read(to_object(content))
        except ValueError as exc:
            raise not_triton(self._url, str(exc), "HTTP") from exc


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
