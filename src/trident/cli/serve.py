"""`trident serve`: an engine behind a real tritonserver, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trident.server.running import Server


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="address to listen on", show_default="127.0.0.1")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port", show_default="8000")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port", show_default="8001")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="port of the metrics", show_default="8002")] = None,
    repository: Annotated[Path | None, typer.Option(help="model repository; Trident's own when unset")] = None,
    engines: Annotated[Path | None, typer.Option(help="folder of engines", show_default="engines")] = None,
    engine: Annotated[
        str | None, typer.Option(help="engine: a name, name@version, or a path", show_default="smollm2-135m")
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(help="engine that makes embeddings, served beside it; none when unset")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="what runs a TensorRT engine: python, cpp, cpp-orchestrator", show_default="python"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run; nothing is started.")] = False,
) -> None:
    """Serve an engine: HTTP, gRPC and metrics, watched and restarted when it must be."""
    from trident.server.running import running_server
    from trident.settings import read_settings

    settings = read_settings(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        repository=repository,
        engines=engines,
        engine=engine,
        embedding=embedding,
        backend=backend,
    )
    if dry_run:
        from trident.server.dry_run import dry_run as planned

        print("\n".join(planned(settings)))
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    started_s = time.monotonic()
    try:
        with running_server(settings, log=_note) as server:
            print(_greeting(server, time.monotonic() - started_s), flush=True)
            server.wait()
    except KeyboardInterrupt:
        _note("stopped")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _note(line: str) -> None:
    """A line about the server's life, beside what is printed on stdout."""
    print(f"trident: {time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _greeting(server: Server, after_s: float) -> str:
    """Where it listens, and what to type next."""
    url = "" if server.grpc_url == "127.0.0.1:8001" else f" --url {server.grpc_url}"
    embedding = server.settings.embedding
    served_too = f"\n  texts    {embedding}, as the model 'embedding'" if embedding else ""
    return f"""\
{server.settings.engine} is ready: an inference through the ensemble answered, {after_s:.1f} s after the start
  HTTP     http://{server.http_url}
  gRPC     {server.grpc_url}
  metrics  http://{server.metrics_url}/metrics{served_too}
  log      {server.log_path}

In another terminal:
  trident generate{url} "The capital of France is"
  trident chat{url}
  curl -N http://{server.http_url}/v2/models/ensemble/generate_stream \\
    -d '{{"text_input": "The capital of France is", "max_tokens": 16, "stream": true}}'

Ctrl-C stops it."""
