"""A gateway as a process of its own, on free ports, for the time of a `with` block."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_START_S = 60.0


@dataclass(frozen=True)
class RunningGateway:
    """Its addresses, its process and its file, which a test may rewrite."""

    url: str
    grpc_url: str
    process: subprocess.Popen[bytes]
    config_path: Path
    log_path: Path

    def rewrite(self, values: Mapping[str, Any]) -> None:
        """Another file in place of the one it runs with."""
        self.config_path.write_text(to_toml(values), encoding="utf-8")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running_gateway(
    folder: Path, values: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Iterator[RunningGateway]:
    """`values`: the gateway's file; ports, the data folder and the host are set here where they are not given."""
    port, grpc_port = free_port(), free_port()
    server = {"host": "127.0.0.1", "port": port, "grpc_port": grpc_port, "data": str(folder / "data")}
    values = {"auth": {"required": False}, **values, "server": {**server, **values.get("server", {})}}
    config_path, log_path = folder / "gateway.toml", folder / "gateway.log"
    config_path.write_text(to_toml(values), encoding="utf-8")
    scheme = "https" if "tls_cert" in values["server"] else "http"
    url = f"{scheme}://127.0.0.1:{values['server']['port']}"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trident", "gateway", "--config", str(config_path)],
            stdout=log, stderr=subprocess.STDOUT, env=None if environ is None else dict(environ),
        )  # fmt: skip
    try:
        _wait_until_live(url, process, log_path)
        yield RunningGateway(url, f"127.0.0.1:{values['server']['grpc_port']}", process, config_path, log_path)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _wait_until_live(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the gateway ended at once: {log_path.read_text()[-2000:]}"
        try:
            httpx.get(f"{url}/health/live", timeout=2, verify=False, trust_env=False)  # noqa: S501 - a test's certificate
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the gateway does not answer: {log_path.read_text()[-2000:]}")


def to_toml(values: Mapping[str, Any]) -> str:
    """Every value as JSON, which TOML's inline values are but for tables and null."""
    lines: list[str] = []
    _write_table(lines, "", values)
    return "\n".join(lines) + "\n"


def _write_table(lines: list[str], prefix: str, values: Mapping[str, Any]) -> None:
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    for name, value in values.items():
        if name not in tables and value is not None:
            lines.append(f"{json.dumps(name)} = {_inline(value)}")
    for name, value in tables.items():
        lines.append(f"[{prefix}{json.dumps(name)}]")
        _write_table(lines, f"{prefix}{json.dumps(name)}.", value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(each)}" for name, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return json.dumps(value)
