"""The ASGI application: every API's routes on one FastAPI, within the edge's bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from trident import __version__
from trident.gateway import overview_api, routing_api
from trident.gateway.cache import cache_api
from trident.gateway.config import Server
from trident.gateway.edge import health
from trident.gateway.edge.body_bounds import BodyBounds, Bounds
from trident.gateway.edge.envelope import PROBES, Envelope
from trident.gateway.edge.errors import ErrorBody, add_error_handlers
from trident.gateway.gateway import Gateway
from trident.gateway.kserve_api import endpoints, plain_generate
from trident.gateway.kserve_api.grpc_server import start_grpc_server
from trident.gateway.kserve_api.kserve import Kserve
from trident.gateway.ledger import feedback_api, usage_api
from trident.gateway.openai_api import batches, chat, completions, embeddings, files, models, responses, tokens
from trident.gateway.overview.reading import OverviewReader
from trident.gateway.pages import pages_api
from trident.gateway.reload import ConfigFile
from trident.gateway.retrieval import collections_api

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # from FastAPI 0.165 on; older ones, for Python 3.10, make no spans

# What a page of another origin may read of an answer.
_EXPOSED = (
    *("x-request-id", "retry-after", "retry-after-ms", "x-trident-deployment", "x-trident-route"),
    *(f"x-ratelimit-{figure}-{kind}" for figure in ("limit", "remaining", "reset") for kind in ("requests", "tokens")),
)
# Spans alone, where OTEL_EXPORTER_OTLP_ENDPOINT says where to; figures are at /metrics.
_TELEMETRY: TelemetryConfig = {
    "auto_configure": True,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "exclude": lambda scope: scope["path"] in PROBES,
}
_FORM_BYTES = 64 << 10  # of a form around its file, whose own size its reader bounds
# A request is held against every route before its own, so the busiest come first.
_APIS = (
    *(chat, completions, health, routing_api, overview_api, usage_api, cache_api, feedback_api, collections_api),
    *(endpoints, plain_generate, embeddings, models, tokens, responses, files, batches),
)


def create_app(gateway: Gateway, config_file: ConfigFile | None = None) -> FastAPI:
    """Starts and closes the gateway with the application's life; follows `config_file` meanwhile."""
    readiness = health.Readiness(gateway)
    kserve = Kserve(gateway, readiness.reason_against)

    app = FastAPI(
        title="Trident gateway",
        version=__version__,
        lifespan=lambda app: _life(app, gateway, kserve, config_file),
        middleware=_layers(gateway),
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        telemetry=_TELEMETRY,
    )
    app.state.gateway = gateway
    app.state.readiness = readiness
    app.state.kserve = kserve
    app.state.overview = OverviewReader(gateway, readiness.reason_against)
    add_error_handlers(app)
    for api in _APIS:
        app.include_router(api.router)
    if gateway.config.server.pages:
        app.include_router(pages_api.create_router())
    return app


@asynccontextmanager
async def _life(app: FastAPI, gateway: Gateway, kserve: Kserve, config_file: ConfigFile | None) -> AsyncIterator[None]:
    try:
        await gateway.start()
        gateway.stored.start(app)
        grpc_port = gateway.config.server.grpc_port
        grpc_server = None if grpc_port is None else await start_grpc_server(kserve, grpc_port)
    except Exception as exc:
        gateway.start_failure = exc
        raise
    grpc_end = None if grpc_server is None else asyncio.create_task(_stop_with_http(grpc_server, gateway))
    follower = None if config_file is None else asyncio.create_task(config_file.follow())
    try:
        yield
    finally:
        if follower is not None:
            follower.cancel()
        gateway.has_stopped_accepting.set()
        if grpc_end is not None:
            await grpc_end
        await gateway.stored.close()
        await gateway.close()


async def _stop_with_http(grpc_server: grpc.aio.Server, gateway: Gateway) -> None:
    """Running calls have the same time as running HTTP requests, not one after the other."""
    await gateway.has_stopped_accepting.wait()
    await grpc_server.stop(gateway.config.server.drain_s)


def _layers(gateway: Gateway) -> list[Middleware]:
    """From the outside in."""
    server = gateway.config.server
    layers = [Middleware(Envelope, gateway.metrics)]
    if server.cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=server.cors_origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=("*",),
                expose_headers=_EXPOSED,
            )
        )
    return [*layers, Middleware(BodyBounds, _bounds_of(server))]


def _bounds_of(server: Server) -> Bounds:
    max_form_bytes = server.max_file_bytes + _FORM_BYTES
    forms = frozenset({"/v1/files"})
    return Bounds(server.max_body_bytes, max_form_bytes, server.max_json_depth, server.body_timeout_s, forms)
