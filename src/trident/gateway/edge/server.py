"""The gateway's process: uvicorn around the application, its sockets, its end."""

from __future__ import annotations

import uvicorn

from trident.gateway.app import create_app
from trident.gateway.config import GatewayConfig
from trident.gateway.gateway import Gateway


def serve(config: GatewayConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    server = config.server
    app = create_app(Gateway(config))
    uvicorn.run(
        app,
        host=server.host,
        port=server.port,
        loop="uvloop",
        http="httptools",
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        timeout_keep_alive=int(server.idle_timeout_s),
        server_header=False,
        access_log=False,
        log_level="warning",
    )
