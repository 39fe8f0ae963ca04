"""What a migration writes: the recipe as TOML, and where each parameter and tensor of the repository went."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from trident.contract import ENGINE, ENSEMBLE, POSTPROCESSING, PREPROCESSING
from trident.migrate import Migration
from trident.migrate_source import BLS, FoundRepository
from trident.migrate_tables import LLMAPI, PARAMETERS, TENSORS_LEFT_OUT, Goes
from trident.upstream import read_upstream

_SAYS = {
    Goes.RECIPE: "recipe",
    Goes.SETTING: "setting",
    Goes.ALWAYS: "always so",
    Goes.CPP: "C++ profile",
    Goes.NONE: "**none**",
}


def recipe_toml(recipe: Mapping[str, Any]) -> str:
    """The recipe as TOML: scalars first, then a section for each part."""
    lines = [f"{key} = {_toml(value)}" for key, value in recipe.items() if not isinstance(value, dict)]
    for name, part in recipe.items():
        if isinstance(part, dict):
            lines += ["", f"[{name}]", *(f"{_toml_key(key)} = {_toml(value)}" for key, value in part.items())]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return f'"{key}"' if "." in key else key


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # of strings, numbers and booleans TOML's own writing too


def report(found: FoundRepository, migration: Migration) -> str:
    """The report as Markdown."""
    is_llmapi = found.llm_arguments is not None
    lines = [f"# Migration of {found.path}", "", f"Read as `{'llmapi' if is_llmapi else 'inflight_batcher_llm'}`."]
    lines += ["", "## To check", "", *(f"- {line}" for line in migration.assumed)]
    without = list(_llmapi_lines(found) if is_llmapi else _without_equivalent(found))
    lines += ["", "## No equivalent", "", *(without or ["Nothing."])]
    if not is_llmapi:
        lines += [
            "",
            "## Parameters that are set",
            "",
            "| model | parameter | value | in Trident | |",
            "|---|---|---|---|---|",
        ]
        lines += list(_parameter_lines(found))
    return "\n".join(lines) + "\n"


def _without_equivalent(found: FoundRepository) -> Iterator[str]:
    upstream = read_upstream()
    if BLS in found.configs:
        yield f"- model `{BLS}`: its clients call `ensemble`, which takes the same; streams need no accumulate_tokens"
    for name, config in found.configs.items():
        if name == BLS:
            continue
        yield from _parameters_without(name, found.parameters[name])
        known = {tensor.name for tensor in (*upstream[name].model.inputs, *upstream[name].model.outputs)}
        for tensor in (*config.input, *config.output):
            if tensor.name in TENSORS_LEFT_OUT[name]:
                yield f"- tensor `{name}.{tensor.name}`: {TENSORS_LEFT_OUT[name][tensor.name]}"
            elif tensor.name not in known | _ours(name):
                yield f"- tensor `{name}.{tensor.name}`: NVIDIA's own template has no such tensor"
        if sum(group.count for group in config.instance_group) > 1:
            yield f"- `{name}` has several instances: set `instance_group` in model_repository/{name}/config.pbtxt"


def _parameters_without(model: str, parameters: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(parameters):
        fate = PARAMETERS.get(model, {}).get(key)
        if fate is None:
            yield f"- parameter `{model}.{key}`: NVIDIA's own template has no such parameter"
        elif fate.goes is Goes.NONE:
            yield f"- parameter `{model}.{key}`: {fate.where}"


def _ours(name: str) -> set[str]:
    models = {model.name: model for model in (PREPROCESSING, ENGINE, POSTPROCESSING, ENSEMBLE)}
    return {tensor.name for tensor in (*models[name].inputs, *models[name].outputs)}


def _llmapi_lines(found: FoundRepository) -> Iterator[str]:
    yield "Clients change: they call `ensemble` instead of `tensorrt_llm`, with these names."
    yield ""
    yield from llmapi_table(
        {tensor.name for tensor in (*found.configs[ENGINE.name].input, *found.configs[ENGINE.name].output)}
    )


def _parameter_lines(found: FoundRepository) -> Iterator[str]:
    for name, parameters in found.parameters.items():
        for key, value in sorted(parameters.items()):
            fate = PARAMETERS.get(name, {}).get(key)
            if fate is not None:
                yield f"| {name} | {key} | `{value}` | {_SAYS[fate.goes]} | {fate.where} |"


def llmapi_table(names: set[str] | None = None) -> Iterator[str]:
    """Tensor by tensor from `llmapi`; all of them, or those in `names`."""
    yield "| llmapi | | Trident's ensemble | |"
    yield "|---|---|---|---|"
    for side, tensors in LLMAPI.items():
        for name, renamed in tensors.items():
            if names is None or name in names:
                to = f"`{renamed.to}`" if renamed.to else _SAYS[Goes.NONE]
                yield f"| `{name}` | {side.removesuffix('s')} | {to} | {renamed.note} |"


def parameter_table() -> Iterator[str]:
    """Every parameter of `inflight_batcher_llm`."""
    yield "| model | parameter | in Trident | |"
    yield "|---|---|---|---|"
    for name, parameters in PARAMETERS.items():
        for key, fate in parameters.items():
            yield f"| {name} | `{key}` | {_SAYS[fate.goes]} | {fate.where} |"


def tensor_table() -> Iterator[str]:
    """Every tensor of `inflight_batcher_llm`: the same, or left out."""
    yield "| model | tensor | | in Trident |"
    yield "|---|---|---|---|"
    for name in (PREPROCESSING.name, ENGINE.name, POSTPROCESSING.name, ENSEMBLE.name):
        model = read_upstream()[name].model
        for side, tensors in (("input", model.inputs), ("output", model.outputs)):
            for tensor in tensors:
                reason = TENSORS_LEFT_OUT[name].get(tensor.name) if tensor.name not in _ours(name) else None
                becomes = f"{_SAYS[Goes.NONE]}: {reason}" if reason else "the same"
                yield f"| {name} | `{tensor.name}` | {side} | {becomes} |"


def tables() -> str:
    """The tables of docs/migrating.md."""
    parts = (
        ("### Parameters of inflight_batcher_llm", parameter_table()),
        ("### Tensors of inflight_batcher_llm", tensor_table()),
        ("### Tensors of llmapi", llmapi_table()),
    )
    return "\n".join("\n".join([title, "", *lines, ""]) for title, lines in parts)
