"""`/`, `/operator` and `/assets`: the files of the two pages, as they lie in the package.

They are public and hold nothing of anybody: every figure and every answer comes from the API, with the reader's key.
Nothing is built and nothing is fetched from elsewhere. Only the files that are there at the start are served, so no
path leads out of the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

# Text from a model, a user or an operator is put in as text. Should a page ever do otherwise, nothing of it runs: no
# inline script or style, no form or base of its own, no HTML made from strings (trusted types).
CONTENT_SECURITY_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_PAGES = {"/": "chat.html", "/operator": "operator.html"}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    media_type: str
    etag: str


def create_router() -> APIRouter:
    """With the files as they are now; a page whose file is not there has no route."""
    assets = _read_assets()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return _answer(request, assets[name])

    for path, page in _PAGES.items():
        if page in assets:
            router.add_api_route(path, _endpoint(assets[page]), methods=["GET", "HEAD"])
    return router


def _endpoint(page: _Asset) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return _answer(request, page)

    return answer


def _read_assets() -> dict[str, _Asset]:
    folder = files(__package__) / "assets"
    assets = {}
    for file in folder.iterdir():
        media_type = _MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            etag = f'"{hashlib.blake2s(content, digest_size=12).hexdigest()}"'
            assets[file.name] = _Asset(content, media_type, etag)
    return assets


def _answer(request: Request, asset: _Asset) -> Response:
    """Kept by the browser, and asked for again each time: an upgrade of the gateway is one of its pages at once."""
    headers = {"etag": asset.etag, "cache-control": "no-cache", "content-security-policy": CONTENT_SECURITY_POLICY}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if asset.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
