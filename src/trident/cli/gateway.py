"""`trident gateway`: OpenAI's API and KServe v2 in front of Triton, with keys, limits and routes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trident.cli.connection import GATEWAY_FILE

if TYPE_CHECKING:
    from trident.gateway.config import GatewayConfig

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def gateway(
    *,
    config: Annotated[
        Path | None, typer.Option(help="the gateway's file; see docs/gateway.md", show_default="gateway.toml")
    ] = None,
    triton: Annotated[
        str | None, typer.Option(help="no file: this one server's gRPC address, host:port; no keys, on loopback only")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Read the file, say whether it is right, and exit.")] = False,
) -> None:
    """Serve OpenAI's API and KServe v2 in front of Triton servers."""
    from trident.errors import SettingsError
    from trident.gateway.config_file import read_config

    if config is not None and triton is not None:
        raise SettingsError("--config and --triton exclude each other; a file names its servers itself")
    path: Path | None = None
    if triton is not None:
        settings = _of_one_server(triton)
    else:
        path = config or GATEWAY_FILE
        if config is None and not path.exists():
            raise SettingsError(f"there is no {path} here; give --config FILE, or --triton host:port for one server")
        settings = read_config(path)
    if check:
        print(f"{path or triton}: right; {len(settings.models)} models, {len(settings.deployments)} deployments")
        print(f"next: trident gateway --config {path}" if path else f"next: trident gateway --triton {triton}")
        return
    from trident.gateway.edge.workers import serve

    if not settings.auth.required and settings.server.host not in _LOOPBACK:
        print("trident: anybody who reaches this address may ask; set auth.required = true", file=sys.stderr)
    serve(settings, path, lambda port: print(greeting(settings, port), flush=True))


def _of_one_server(address: str) -> GatewayConfig:
    from trident.errors import SettingsError
    from trident.gateway.config_file import parse_config

    settings = parse_config(
        {
            "auth": {"required": False},
            "deployments": {"default": {"url": address}},
            "models": {"default": {"deployments": {"default": 1}, "aliases": ["ensemble"]}},
        },
        "--triton",
    )
    if settings.server.host not in _LOOPBACK:
        raise SettingsError(f"--triton asks for no keys and listens on loopback only, not on {settings.server.host}")
    return settings


def greeting(settings: GatewayConfig, port: int) -> str:
    """Where it listens, and what to type next."""
    server = settings.server
    host = "127.0.0.1" if server.host in {"0.0.0.0", "::"} else server.host  # noqa: S104 - compared, not bound
    url = f"http{'s' if server.tls_cert else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    lines = [f"trident gateway listens on {url}: OpenAI's API at /v1, KServe v2 at /v2"]
    if server.grpc_port is not None:
        lines.append(f"KServe v2 over gRPC: {host}:{server.grpc_port}")
    body = f'{{"model": "{next(iter(settings.models))}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    key = " -H 'authorization: Bearer <key of trident keys create>'" if settings.auth.required else ""
    lines.append(f"next: curl {url}/v1/chat/completions -H 'content-type: application/json'{key} -d '{body}'")
    return "\n".join(lines)
