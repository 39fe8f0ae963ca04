"""What a request's body may be before any endpoint sees it: whole in time, not too large, not compressed, not too deep.

It knows no API: JSON itself is parsed by who asks for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trident.gateway.edge.errors import api_error_of, error_response, is_kserve

# A string in JSON, to its end or the body's: it matches at every quote, so it takes time in proportion to the body.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_MAX_LENGTH_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Bounds:
    """`max_form_bytes` is for multipart forms at `form_paths`, which are handed on in pieces and never held here."""

    max_body_bytes: int
    max_form_bytes: int
    max_json_depth: int
    timeout_s: float  # until a body is complete
    form_paths: frozenset[str] = frozenset()  # elsewhere a form is a body like any other


class BodyBounds:
    """An ASGI layer: 400, 408, 413 or 415 instead of the application's answer."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        self._app = app
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = dict(
                reversed(scope["headers"])
            )  # of one that is sent twice the first counts, as endpoints read it
            body = await self._checked(scope["path"], headers, receive)
        except HTTPException as exc:
            error = api_error_of(exc, scope["state"]["request_id"])
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, body, send)

    async def _checked(self, path: str, headers: Mapping[bytes, bytes], receive: Receive) -> Receive | None:
        """What the application reads the body from; None: the client left before it was whole."""
        bounds = self._bounds
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise HTTPException(415, "a compressed body is not taken; send it without content-encoding")
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            return receive
        kind = headers.get(b"content-type", b"").lower()
        is_form = path in bounds.form_paths and kind.startswith(b"multipart/")
        max_bytes = bounds.max_form_bytes if is_form else bounds.max_body_bytes
        if length is not None and (not length.isdigit() or int(length) > max_bytes):
            raise _too_large(max_bytes)
        if is_form:
            return _bounded(receive, max_bytes)
        try:
            body = await asyncio.wait_for(_read(receive, max_bytes), bounds.timeout_s)
        except asyncio.TimeoutError as exc:
            text = f"the body was not complete within {bounds.timeout_s:g} s"
            raise HTTPException(408, text, {"connection": "close"}) from exc
        if body is None:
            return None
        check_json_text(_json_in(path, headers, body), bounds.max_json_depth)
        return _replayed(body, receive)


def _json_in(path: str, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """All of it, but for the binary tensors that may stand behind the JSON of KServe's `infer`, and there alone."""
    length = headers.get(b"inference-header-content-length", b"")
    if is_kserve(path) and path.endswith("/infer") and length.isdigit() and len(length) <= _MAX_LENGTH_DIGITS:
        return body[: int(length)]
    return body


def check_json_text(body: bytes, max_depth: int) -> None:
    """Raises HTTPException (400): it is not UTF-8, or nested deeper than `max_depth`. Knows no more of its syntax."""
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise HTTPException(400, f"the body is not UTF-8: byte {exc.start} is 0x{body[exc.start]:02x}") from exc
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", body).translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(max_depth):  # each time the innermost pairs go
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    raise HTTPException(400, f"the body is nested more than {max_depth} deep, or its brackets do not match")


async def _read(receive: Receive, max_bytes: int) -> bytes | None:
    """The whole body; None: the client left."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _bounded(receive: Receive, max_bytes: int) -> Receive:
    """Pieces as they come. FastAPI lets only this kind of exception out of its form parser."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise _too_large(max_bytes)
        return message

    return count


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {max_bytes} bytes; send less at once")
