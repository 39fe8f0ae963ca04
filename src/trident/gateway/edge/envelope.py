"""Around every HTTP request: its id, the headers of its answer, its line in the log, and any unexpected exception.

The outermost of our ASGI layers; it never looks into a body.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trident.gateway.edge.errors import api_error_of, error_response
from trident.gateway.gateway import new_request_id
from trident.gateway.logs import RequestRecord, current_record
from trident.gateway.metrics import Metrics

# An answer is data for one client: never a page, never a script, in no cache.
_SECURITY = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
_HSTS = (b"strict-transport-security", b"max-age=31536000")
PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})  # asked every few seconds: counted and no more
_log = logging.getLogger(__name__)


class Envelope:
    """`scope["state"]["request_id"]` is the gateway's own UUID; a client's own `x-request-id` is not believed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(new_request_id(), scope["method"])
        scope.setdefault("state", {})["request_id"] = record.request_id
        current_record.set(record)
        answer = _Answer(send, record.request_id, is_secure=scope.get("scheme") == "https")
        try:
            await self._app(scope, receive, answer.send)
        except Exception as exc:
            error = api_error_of(exc, record.request_id)
            if answer.status:
                raise  # the server closes the connection, so that the answer does not look whole
            await error_response(scope["path"], error)(scope, receive, answer.send)
        finally:
            route = _route_of(scope)
            self._metrics.answered(route, answer.status)
            if route not in PROBES:
                record.write(route, answer.status, scope["state"].get("identity"))


class _Answer:
    """The way out: puts the headers on, remembers the status."""

    def __init__(self, send: Send, request_id: str, *, is_secure: bool) -> None:
        self.status = 0
        self._send = send
        self._request_id = request_id
        self._is_secure = is_secure

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers.append((b"x-request-id", self._request_id.encode()))
            headers += [header for header in _SECURITY.items() if header[0] not in present]
            message = {**message, "headers": [*headers, _HSTS] if self._is_secure else headers}
        await self._send(message)


def _route_of(scope: Scope) -> str:
    """The path with the names of its parameters, never their values; as many as there are endpoints."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "(none)"))
