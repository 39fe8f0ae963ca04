"""Reads a repository of NVIDIA's as it lies on disk: `inflight_batcher_llm` with its templates filled, or `llmapi`.

An optional parameter whose placeholder was never filled counts as unset, as it does in NVIDIA's own backend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trident.contract import ENGINE, ENSEMBLE, POSTPROCESSING, PREPROCESSING
from trident.errors import RepositoryError
from trident.repository import parse_config
from trident.upstream import read_upstream

BLS = "tensorrt_llm_bls"
_MODELS = (PREPROCESSING.name, ENGINE.name, POSTPROCESSING.name, ENSEMBLE.name)
_YAML = Path(ENGINE.name, "1", "model.yaml")


@dataclass(frozen=True)
class FoundRepository:
    """What a repository of NVIDIA's says."""

    path: Path
    configs: dict[str, Any]  # model -> inference.ModelConfig
    parameters: dict[str, dict[str, str]]  # model -> key -> value; only those that are set
    engine_config: dict[str, Any] = field(default_factory=dict)  # config.json of the engine; empty: not on this machine
    llm_arguments: dict[str, Any] | None = None  # model.yaml of `llmapi`; None: an inflight_batcher_llm

    def parameter(self, key: str, model: str = ENGINE.name) -> str | None:
        """The value, or None where it is unset."""
        return self.parameters.get(model, {}).get(key)


def read_repository(path: Path) -> FoundRepository:
    """The repository at `path`.

    Raises:
        RepositoryError: it is none of NVIDIA's; a config cannot be parsed; a placeholder stands where a value must be.
    """
    if not (path / ENGINE.name / "config.pbtxt").is_file():
        raise RepositoryError(f"no repository of NVIDIA's at {path}: it has no {ENGINE.name}/config.pbtxt")
    there = [name for name in (*_MODELS, BLS) if (path / name / "config.pbtxt").is_file()]
    configs = {name: _read_config(path / name / "config.pbtxt") for name in there}
    parameters = {name: _set_parameters(path, name, config) for name, config in configs.items()}
    if (path / _YAML).is_file():
        return FoundRepository(path, configs, parameters, llm_arguments=_read_yaml(path / _YAML))
    if missing := [name for name in _MODELS if name not in configs]:
        raise RepositoryError(f"{path} is no inflight_batcher_llm: it has no {missing[0]}/config.pbtxt")
    found = FoundRepository(path, configs, parameters)
    engine = found.parameter("gpt_model_path")
    if engine is None:
        raise RepositoryError(f"{path / ENGINE.name}/config.pbtxt: gpt_model_path is not set; it names the engine")
    return FoundRepository(path, configs, parameters, _engine_config(Path(engine) / "config.json"))


def _read_config(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise RepositoryError(f"{path} cannot be read: {exc}") from exc
    return parse_config(text, path)


def _set_parameters(path: Path, model: str, config: Any) -> dict[str, str]:
    upstream = read_upstream().get(model)
    found = {}
    for key, parameter in config.parameters.items():
        value = parameter.string_value
        if "${" in value:
            known = upstream.parameters.get(key) if upstream else None
            if known is not None and known.default == "REQUIRED":
                raise RepositoryError(
                    f"{path / model}/config.pbtxt: {key} is still the placeholder {value}; fill it in"
                )
        elif value:
            found[key] = value
    return found


def _engine_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the engine may lie on another machine; the report says so
        return {}
    return config if isinstance(config, dict) else {}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        arguments = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise RepositoryError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(arguments, Mapping) or "model" not in arguments:
        raise RepositoryError(f"{path} names no model; it must have a line `model: ...`")
    return dict(arguments)
