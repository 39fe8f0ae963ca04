"""`trident gateway`: OpenAI's API and KServe v2 in front of Triton, with keys, limits and routes."""

from __future__ import annotations

from pathlib import Path

import typer


def gateway(
    config: Path = typer.Option(Path("gateway.toml"), "--config", help="The gateway's file; see docs/gateway.md."),
) -> None:
    """Serve OpenAI's API and KServe v2 in front of the Triton servers that a file names."""
    from trident.gateway.config import read_config
    from trident.gateway.edge.server import serve

    serve(read_config(config))
