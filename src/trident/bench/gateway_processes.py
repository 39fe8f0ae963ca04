"""The processes that `trident bench gateway` measures: our gateway, and LiteLLM's proxy, before one Triton.

Of both only the command, the configuration file and where they say that they are well is known here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trident.bench.peers_process import Peer, PeerProcess
from trident.contract import ENSEMBLE
from trident.server.running import Server
from trident.settings import GATEWAY_PREFIX

MODEL = "simulated"
GATEWAY, LITELLM = "gateway", "litellm"
_START_TIMEOUT_S = 120.0
# Like the gateway beside it, it asks nobody for a key.
_LITELLM_ENVIRON = {"LITELLM_LOG": "ERROR", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}


@contextmanager
def started_gateway(server: Server, folder: Path, more: Sequence[str] = ()) -> Iterator[PeerProcess]:
    """A gateway before that server, without keys, on a free port; `more`: lines at the end of its file."""
    config = folder / "gateway.toml"
    lines = [
        "[auth]", "required = false",
        "[server]", f"data = {json.dumps(str(folder / 'data'))}", "json_logs = false",
        "[deployments.triton]", f"url = {json.dumps(server.grpc_url)}",
        f"metrics_url = {json.dumps(f'http://{server.metrics_url}/metrics')}",
        f"[models.{MODEL}]", "deployments = { triton = 1 }",
        *more,
    ]  # fmt: skip
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    peer = Peer(
        GATEWAY,
        (sys.executable, "-m", "trident", "gateway", "--config", str(config)),
        {},
        health="/health/live",
        port_variable=f"{GATEWAY_PREFIX}PORT",
    )
    with PeerProcess(peer, folder / "gateway.log") as process:
        process.wait_until_ready(_START_TIMEOUT_S)
        yield process


@contextmanager
def started_litellm(program: str, server: Server, folder: Path) -> Iterator[PeerProcess]:
    """LiteLLM's proxy before that server, by its provider for Triton's `generate`.

    Raises:
        UnavailableError: it does not start.
    """
    config = folder / "litellm.json"  # which is YAML too
    url = f"http://{server.http_url}/v2/models/{ENSEMBLE.name}/generate"
    parameters = {"model": f"triton/{ENSEMBLE.name}", "api_base": url, "api_key": "none"}
    config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": parameters}]}))
    command = (program, "--config", str(config), "--host", "127.0.0.1", "--telemetry", "False", "--port")
    peer = Peer(LITELLM, command, {}, _LITELLM_ENVIRON, health="/health/liveliness")
    with PeerProcess(peer, folder / "litellm.log") as process:
        process.wait_until_ready(_START_TIMEOUT_S)
        yield process
