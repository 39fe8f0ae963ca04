"""From `gateway.toml` and the environment to `GatewayConfig`.

`trident gateway --config gateway.toml`; a `TRIDENT_GATEWAY_<NAME>` variable sets a key of `[server]`. An unknown key is
an error with the nearest known name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trident.errors import SettingsError, did_you_mean
from trident.faults import explain_invalid
from trident.gateway.config import GatewayConfig, Server
from trident.settings import GATEWAY_PREFIX

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11


def read_config(path: Path, environ: Mapping[str, str] | None = None) -> GatewayConfig:
    """The file, with `TRIDENT_GATEWAY_*` of `environ` (default: the process's) over its `[server]`.

    Raises:
        SettingsError: it cannot be read, or says something wrong; names the key and the nearest known one.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"cannot read {path}: {exc}") from exc
    return parse_config(values, path.name, environ)


def parse_config(
    values: Mapping[str, Any], source: str = "the configuration", environ: Mapping[str, str] | None = None
) -> GatewayConfig:
    """Likewise, of what a file holds; `source`: its name in messages."""
    server = values.get("server", {})
    if isinstance(server, dict):
        server = {**server, **_server_values(os.environ if environ is None else environ)}
    try:
        return GatewayConfig.model_validate({**values, "server": server})
    except ValidationError as exc:
        raise SettingsError(f"{source}: {explain_invalid(exc, GatewayConfig)}") from exc


def _server_values(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if variable.startswith(GATEWAY_PREFIX):
            name = variable.removeprefix(GATEWAY_PREFIX).lower()
            if name not in Server.model_fields:
                known = [GATEWAY_PREFIX + field.upper() for field in Server.model_fields]
                raise SettingsError(f"unknown environment variable {variable}{did_you_mean(variable, known)}")
            found[name] = tuple(value.split(",")) if name in {"cors_origins", "trusted_proxies"} else value
    return found
