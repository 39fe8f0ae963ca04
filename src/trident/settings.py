"""Deployment settings: where the server listens, what it serves, how patient it is.

Read once at the edge (the shell, or a model's `initialize`) from `TRIDENT_*` variables and options.
Engine settings do not live here: they are in the engine's manifest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trident.errors import SettingsError, did_you_mean

PREFIX = "TRIDENT_"


class Backend(str, Enum):
    """What runs the engine model of a TensorRT engine; see docs/cpp-backend.md."""

    PYTHON = "python"  # Trident's own engine model
    CPP = "cpp"  # NVIDIA's C++ backend, a rank a GPU
    CPP_ORCHESTRATOR = "cpp-orchestrator"  # the same, and it spawns its workers itself


class Settings(BaseModel):
    """Every deployment setting, its default and its bounds. `TRIDENT_HTTP_PORT` sets `http_port`, and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="address the server binds; keep it on loopback, put the gateway in front"
    )
    http_port: int = Field(8000, ge=1, le=65535, description="HTTP: KServe v2, generate, generate_stream")
    grpc_port: int = Field(8001, ge=1, le=65535, description="gRPC: KServe v2 with streaming")
    metrics_port: int = Field(8002, ge=1, le=65535, description="Prometheus metrics")
    repository: Path | None = Field(None, description="model repository; the one that came with Trident when unset")
    engines: Path = Field(Path("engines"), description="folder of engines/<name>/<version>")
    engine: str = Field("smollm2-135m", description="engine to serve: a name, name@version, or a path")
    embedding: str | None = Field(
        None, description="engine that makes embeddings, served beside it: a name, name@version, or a path"
    )
    backend: Backend = Field(
        Backend.PYTHON,
        description="what runs a TensorRT engine: python, or NVIDIA's C++ backend: cpp, cpp-orchestrator",
    )
    ready_timeout_s: float = Field(120.0, gt=0, description="how long the server may take until it answers")
    exit_timeout_s: int = Field(5, ge=1, le=60, description="how long running requests may take when it stops")
    probe_interval_s: float = Field(15.0, gt=0, description="seconds between the watchdog's inferences")
    probe_timeout_s: float = Field(60.0, gt=0, description="how long such an inference may take")
    request_timeout_s: float = Field(
        600.0, gt=0, description="longest time a request may take; a shorter one may be asked for"
    )
    prompts: Path | None = Field(None, description="folder of named prompt templates, beside those that ship")
    checks: Path | None = Field(None, description="policy of the validation and safety checks, a TOML file")
    response_delay_ms: float = Field(
        50.0, ge=0, le=1000, description="longest time a streamed token may wait to be sent with the next ones"
    )

    @property
    def loopback(self) -> str:
        """The address at which this machine itself reaches the server."""
        return "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound


GATEWAY_PREFIX = PREFIX + "GATEWAY_"  # the gateway's own settings, read in `trident.gateway.config_file`
EMBEDDING_VARIABLE = "TRIDENT_EMBEDDING_DIRECTORY"
# Set by `trident serve` for the model processes; not settings of their own.
INTERNAL_VARIABLES = frozenset(
    {"TRIDENT_ENGINE_DIRECTORY", "TRIDENT_DRAIN_FILE", "TRIDENT_FOLLOWED_FOLDER", EMBEDDING_VARIABLE}
)


def read_settings(environ: Mapping[str, str] | None = None, /, **options: Any) -> Settings:
    """Settings from `environ` (default: the process's), overridden by the options that are not None.

    Raises:
        SettingsError: an unknown TRIDENT_* variable or a bad value, named, with the nearest valid name.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(GATEWAY_PREFIX) or variable in INTERNAL_VARIABLES:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in Settings.model_fields:
            known = [PREFIX + field.upper() for field in Settings.model_fields]
            raise SettingsError(f"unknown environment variable {variable}{did_you_mean(variable, known)}")
        values[name] = value
    values.update({name: value for name, value in options.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = str(first["loc"][0])
        raise SettingsError(
            f"{PREFIX}{name.upper()} (or --{name.replace('_', '-')}): {first['msg']}, got {first['input']!r}"
        ) from exc
