"""The gateway's gRPC port: the service on `grpc.aio`, within the same bounds as HTTP."""

from __future__ import annotations

from typing import Any

import grpc

from trident.errors import HostError, SettingsError
from trident.gateway.config import Server
from trident.gateway.kserve_api.kserve import Kserve
from trident.gateway.kserve_api.service import Service

_MAX_METADATA_BYTES = 16 << 10


async def start_grpc_server(kserve: Kserve, port: int) -> Any:
    """Started on `port`, which the workers share.

    Raises:
        HostError: the port is taken.
        SettingsError: a certificate cannot be read.
    """
    settings = kserve.gateway.config.server
    server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=settings.max_connections)
    server.add_generic_rpc_handlers((Service(kserve).handlers(),))
    address = f"[{settings.host}]:{port}" if ":" in settings.host else f"{settings.host}:{port}"
    credentials = _credentials(settings)
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError as exc:
        raise HostError(f"cannot listen for gRPC on {address}; give another grpc_port") from exc
    await server.start()
    return server


def _options(settings: Server) -> tuple[tuple[str, int], ...]:
    idle_ms = int(1000 * settings.body_timeout_s)
    return (
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # Clients that ping an idle connection are let be, and one that answers no ping is gone.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.server_handshake_timeout_ms", idle_ms),
        ("grpc.max_connection_idle_ms", int(1000 * settings.stream_idle_s)),  # without a call
    )


def _credentials(settings: Server) -> Any:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    except OSError as exc:
        raise SettingsError(f"cannot read {exc.filename}: {exc.strerror}") from exc
    return grpc.ssl_server_credentials([pair])
