"""A model repository's configs: read, written, and compared with contract.py.

Extra parameters, instance counts and queue policies are the operator's; names, dtypes and shapes are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trident.contract import MODELS, Model, Tensor
from trident.errors import RepositoryError, did_you_mean
from trident.repository_cpp import CONFIG, CPP_ENGINE, CPP_ENSEMBLE, UPSTREAM

_HEAD = (
    "name",
    "platform",
    "backend",
    "max_batch_size",
    "model_transaction_policy",
    "dynamic_batching",
    "instance_group",
)
_FIELD_ORDER = {name: place for place, name in enumerate((*_HEAD, "input", "output", "parameters"))}


def read_config(path: Path) -> Any:
    """A `config.pbtxt` as inference.ModelConfig.

    Raises:
        RepositoryError: it cannot be read, is not valid protobuf text (line and column named), or still has a
            `${placeholder}` of an unfilled template.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise RepositoryError(f"{path} cannot be read: {exc.strerror}") from exc
    if "${" in text:
        placeholder = text[text.index("${") :].split("}")[0] + "}"
        raise RepositoryError(
            f"{path} still has the placeholder {placeholder}; Trident's own files need no filling, "
            "and NVIDIA's come over with 'trident migrate'"
        )
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> Any:
    """The text of the config at `path` as inference.ModelConfig; a placeholder may stand where any text may.

    Raises:
        RepositoryError: it is not valid protobuf text; line and column are named, and a placeholder that is the reason.
    """
    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as exc:
        line = text.splitlines()[(exc.GetLine() or 1) - 1] if text else ""
        if "${" in line:
            placeholder = line[line.index("${") :].split("}")[0] + "}"
            raise RepositoryError(
                f"{path}:{exc.GetLine()} still has the placeholder {placeholder}; fill it in"
            ) from exc
        raise RepositoryError(f"{path}: {exc}") from exc


def format_config(config: Any) -> str:
    """A config as text that `read_config` reads back: a line for each tensor, parameter and mapping."""
    lines = []
    for field, value in sorted(config.ListFields(), key=lambda item: _FIELD_ORDER.get(item[0].name, len(_FIELD_ORDER))):
        if field.name == "ensemble_scheduling":
            lines += ["", "ensemble_scheduling {", *_step_lines(value.step), "}"]
        elif field.name == "parameters":
            lines += ["", *(_parameter_line(key, value[key].string_value) for key in sorted(value))]
        elif field.message_type and isinstance(value, MutableSequence):
            items = [f"  {{ {_one_line(item)} }}" for item in value]
            lines += ["", f"{field.name} [", *(f"{item}," for item in items[:-1]), items[-1], "]"]
        elif field.message_type:
            lines += [f"{field.name} {{ {_one_line(value)} }}"]
        else:
            lines += [_one_line(model_config_pb2.ModelConfig(**{field.name: value}))]
    return "\n".join(lines) + "\n"


def _one_line(message: Any) -> str:
    return str(text_format.MessageToString(message, as_one_line=True, use_short_repeated_primitives=True))


def _step_lines(steps: Any) -> Iterator[str]:
    for step in steps:
        yield "  step {"
        yield f'    model_name: "{step.model_name}"'
        yield f"    model_version: {step.model_version}"
        for name in ("input_map", "output_map"):
            for key, value in sorted(getattr(step, name).items()):
                yield f'    {name} {{ key: "{key}"  value: "{value}" }}'
        yield "  }"


def _parameter_line(key: str, value: str) -> str:
    text = _one_line(model_config_pb2.ModelParameter(string_value=value)) or 'string_value: ""'
    return f'parameters {{ key: "{key}"  value: {{ {text} }} }}'


def _tensor_differences(kind: str, expected: Iterable[Tensor], found: Any) -> Iterator[str]:
    there = {tensor.name: tensor for tensor in found}
    wanted = {tensor.name: tensor for tensor in expected}
    for name in there.keys() - wanted.keys():
        yield f"{kind} {name} is not in the contract{did_you_mean(name, wanted)}"
    for name, tensor in wanted.items():
        if name not in there:
            yield f"{kind} {name} is missing"
            continue
        config = there[name]
        dtype = model_config_pb2.DataType.Name(config.data_type)
        if dtype != f"TYPE_{tensor.dtype}":
            yield f"{kind} {name} is {dtype}, must be TYPE_{tensor.dtype}"
        if tuple(config.dims) != tensor.dims:
            yield f"{kind} {name} has dims {list(config.dims)}, must have {list(tensor.dims)}"
        if kind == "input" and (config.optional, config.allow_ragged_batch) != (tensor.optional, tensor.ragged):
            yield f"{kind} {name} must have optional: {tensor.optional} and allow_ragged_batch: {tensor.ragged}".lower()


def _map_differences(where: str, expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            yield f"{where} maps {key} to {found.get(key)}, must be {expected.get(key)}"


def differences(model: Model, config: Any) -> list[str]:
    """Where a parsed config leaves the contract, a line each; empty when it keeps it."""
    lines = []
    if config.name != model.name:
        lines.append(f"name is '{config.name}', must be '{model.name}'")
    if config.max_batch_size < 1:
        lines.append("max_batch_size must be above 0: clients send [1, 1]")
    if config.model_transaction_policy.decoupled != model.decoupled:
        lines.append(f"model_transaction_policy.decoupled must be {str(model.decoupled).lower()}")
    if model.is_ensemble != (config.platform == "ensemble"):
        lines.append(f"platform is '{config.platform}'")
    lines += _tensor_differences("input", model.inputs, config.input)
    lines += _tensor_differences("output", model.outputs, config.output)
    steps = {step.model_name: step for step in config.ensemble_scheduling.step}
    if list(steps) != [step.model for step in model.steps]:
        lines.append(f"the steps are {list(steps)}, must be {[step.model for step in model.steps]}")
        return lines
    for step in model.steps:
        lines += _map_differences(f"{step.model}.input_map", step.input_map, steps[step.model].input_map)
        lines += _map_differences(f"{step.model}.output_map", step.output_map, steps[step.model].output_map)
    if model.name == "postprocessing" and sum(group.count for group in config.instance_group) != 1:
        lines.append("instance_group must have count 1: two instances would break the order of a stream")
    return lines


def check_repository(repository: Path) -> list[str]:
    """Every difference between a repository and the contract, as "model: what"; empty when there is none.

    The profile of the C++ backend is looked at where there is one.

    Raises:
        RepositoryError: a config.pbtxt is missing or cannot be parsed.
    """
    lines = []
    for model in MODELS:
        config = read_config(repository / model.name / "config.pbtxt")
        lines += [f"{model.name}: {line}" for line in differences(model, config)]
        if not model.is_ensemble and not (repository / model.name / "1" / "model.py").is_file():
            lines.append(f"{model.name}: 1/model.py is missing")
    return lines + check_profile(repository)


def check_profile(repository: Path) -> list[str]:
    """The same of the profile `cpp`, of the models that have one: upstream's tensors, shapes and parameter names.

    Raises:
        RepositoryError: a config cannot be parsed.
    """
    lines = []
    for model in (CPP_ENGINE, CPP_ENSEMBLE):
        path = repository / model.name / CONFIG
        if not path.is_file():
            continue
        config = read_config(path)
        found = differences(model, config)
        if model is CPP_ENGINE:
            found += _cpp_engine_differences(config)
        lines += [f"{model.name}/{CONFIG}: {line}" for line in found]
    return lines


def _cpp_engine_differences(config: Any) -> Iterator[str]:
    for tensor in config.input:
        has_reshape = tensor.HasField("reshape")
        if has_reshape != (tensor.name in UPSTREAM.scalars) or tensor.reshape.shape:
            yield f"input {tensor.name} must {'have' if not has_reshape else 'not have'} a reshape to no dimension"
    for key in UPSTREAM.parameters.keys() ^ set(config.parameters):
        is_missing = key in UPSTREAM.parameters
        hint = "" if is_missing else did_you_mean(key, UPSTREAM.parameters)
        yield f"parameter {key} {'is missing' if is_missing else 'is none of the C++ backend'}{hint}"
    for key, parameter in UPSTREAM.parameters.items():
        value = config.parameters[key].string_value if key in config.parameters else None
        if parameter.fixed is not None and value not in {None, parameter.fixed}:
            yield f"parameter {key} is '{value}', must be '{parameter.fixed}'"
