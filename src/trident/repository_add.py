"""A second engine in one repository: `preprocessing_KEY`, `tensorrt_llm_KEY`, `postprocessing_KEY`, `ensemble_KEY`.

Each is a copy of the model of its name with the engine as a parameter, made from the parsed config, never its text.
Their engine is fixed: it takes no part in promotions.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from trident.contract import MODELS
from trident.errors import RepositoryError
from trident.repository import differences, format_config, read_config

ENGINE_PARAMETER = "engine"  # as trident.triton_adapter.requests reads it
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*")
_HEADER = """\
# Written by `trident repository add`: {model} for the engine that the parameter `engine` names.

"""


def add_engine(repository: Path, key: str, engine: Path) -> list[str]:
    """Add the four models of `key` to `repository`, all of them or none, and return their names.

    Args:
        repository: one that keeps the contract.
        key: what the names of the models end with.
        engine: its directory.

    Raises:
        RepositoryError: a key that cannot be part of a model's name, or is taken; a config that cannot be parsed.
    """
    if not _KEY.fullmatch(key):
        raise RepositoryError(f"key '{key}' cannot end a model's name; use small letters, digits, - and _")
    names = {model.name: f"{model.name}_{key}" for model in MODELS}
    for name in names.values():
        if (repository / name).exists():
            raise RepositoryError(f"{repository} has a model {name} already; remove its folders, or use another key")
    made: list[Path] = []
    try:
        for model in MODELS:
            folder = repository / names[model.name]
            made.append(folder)
            _add_model(repository / model.name, folder, names, engine)
    except (OSError, shutil.Error, RepositoryError) as exc:
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(exc, RepositoryError):
            raise
        raise RepositoryError(f"{repository} cannot be written: {exc}") from exc
    return list(names.values())


def _add_model(source: Path, folder: Path, names: dict[str, str], engine: Path) -> None:
    config = read_config(source / "config.pbtxt")
    if lines := _differences(source.name, config):
        raise RepositoryError(f"{source} leaves the contract: " + "; ".join(lines))
    config.name = names[source.name]
    if config.platform == "ensemble":
        for step in config.ensemble_scheduling.step:
            step.model_name = names[step.model_name]
    else:
        config.parameters[ENGINE_PARAMETER].string_value = str(engine.resolve())
    shutil.copytree(source / "1", folder / "1", ignore=shutil.ignore_patterns("__pycache__"))
    text = _HEADER.format(model=source.name) + format_config(config)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")


def _differences(name: str, config: object) -> list[str]:
    return next(differences(model, config) for model in MODELS if model.name == name)
