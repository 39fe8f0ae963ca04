"""The ASGI application: every API's routes on one FastAPI, within the edge's bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from trident import __version__
from trident.gateway.gateway import Gateway


def create_app(gateway: Gateway) -> FastAPI:
    """Starts and closes the gateway with the application's life."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.close()

    app = FastAPI(title="Trident gateway", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.gateway = gateway
    return app
