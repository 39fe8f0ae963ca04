"""Runs trtllm-build, and compares the engine directory that it wrote with the recipe.

The directory: config.json (version, pretrained_config, build_config), rank0.engine to rank{world_size - 1}.engine, and
compiled_on.txt, ours: what nvidia-smi says of the machine that compiled, and the image that it did so in.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.engines.preflight import IMAGE_VARIABLE, Gpu, find_gpus
from trident.errors import EngineError, HostError, RecipeError
from trident_build.checkpoint_formats import FORMATS, KV_ALGORITHMS
from trident_build.progress import Stage
from trident_build.recipe import Recipe
from trident_build.trtllm_build import build_flags, command, shell_line
from trident_build.trtllm_flags import FlagValue
from trident_build.trtllm_versions import EXECUTABLE, check_version, installed_version

CONFIG = "config.json"
COMPILED_ON = "compiled_on.txt"
RECORD_GPU = f"nvidia-smi --query-gpu=compute_cap --format=csv,noheader > {{}}/{COMPILED_ON}"  # where Trident is not
_LAST_LINES = 400
_SIGNS = ("Error", "error:", "Assertion", "[E]", "out of memory")  # of the line that says why, among hundreds
_NOT_RECORDED = {"workers", "log_level", "fast_build"}  # of the building, not of the engine
_RECORDED_AS = {"strip_plan": "use_strip_plan"}


@dataclass(frozen=True)
class Compiled:
    """What an engine directory says of its making."""

    version: str  # of TensorRT-LLM; the engine runs on no other
    gpu_architecture: str | None  # "sm90", of the first GPU where it was compiled; None: nobody recorded it
    image_digest: str | None  # that it was compiled in


def compile_engine(recipe: Recipe, checkpoint: Path, output: Path, *, stage: Stage, log: Path | None = None) -> None:
    """Run trtllm-build on `checkpoint`; the engine directory is `output`.

    Raises:
        RecipeError: the recipe is refused before, or by trtllm-build, whose own last error is quoted.
        HostError: trtllm-build is missing or of a version without engines, was killed, or the disk is full.
    """
    arguments = command(recipe, checkpoint, output)
    version = installed_version(EXECUTABLE)
    check_version(version)
    stage.note(f"TensorRT-LLM {version}, {recipe.parallelism.world_size} ranks")
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    with (log or Path("/dev/null")).open("a", encoding="utf-8") as file:
        file.write(f"$ {shell_line(arguments)}\n")
        with subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        ) as child:  # fmt: skip
            assert child.stdout is not None  # noqa: S101 - a pipe
            try:
                for line in child.stdout:
                    file.write(line)
                    lines.append(line.strip())
            except BaseException:  # the build is given up: so is the compiler
                child.kill()
                raise
    if child.returncode:
        raise _failure(child.returncode, list(lines), log)
    said = [*(gpu.compute_capability for gpu in find_gpus()), os.environ.get(IMAGE_VARIABLE, "")]
    (output / COMPILED_ON).write_text("".join(f"{line}\n" for line in said if line), encoding="utf-8")


def _failure(status: int, lines: list[str], log: Path | None) -> HostError | RecipeError:
    where = f"; all of it is in {log}" if log else ""
    if status < 0:
        name = signal.Signals(-status).name
        return HostError(f"trtllm-build was killed by {name}; is there enough memory?{where}")
    said = [line for line in lines if line]
    reason = next((line for line in reversed(said) if any(sign in line for sign in _SIGNS)), said[-1] if said else "")
    if "No space left on device" in reason:
        return HostError(f"trtllm-build: no space is left on the disk{where}")
    return RecipeError(f"trtllm-build failed with status {status}: {reason or 'no reason given'}{where}")


def verify_compiled(recipe: Recipe, engine: Path) -> Compiled:
    """Compare the engine directory `engine` with the recipe.

    Raises:
        EngineError: a rank is missing or empty, or config.json contradicts the recipe; names the first key.
    """
    path = engine / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        lines = differences(recipe, config)
    except (OSError, ValueError, AttributeError) as exc:
        raise EngineError(f"{path} is no engine's config.json: {exc}") from exc
    for rank in range(recipe.parallelism.world_size):
        file = engine / f"rank{rank}.engine"
        if not file.is_file() or not file.stat().st_size:
            lines.append(f"{file.name} is missing or empty")
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise EngineError(f"the engine is not what recipe {recipe.name} says: {lines[0]}{more}")
    return Compiled(str(config["version"]), *_compiled_on(engine))


def _compiled_on(engine: Path) -> tuple[str | None, str | None]:
    """GPU architecture and image digest, as far as they were recorded."""
    path = engine / COMPILED_ON
    lines = path.read_text(encoding="utf-8", errors="replace").split() if path.is_file() else []
    capability = next((line for line in lines if re.fullmatch(r"\d+\.\d+", line)), None)
    digest = next((line for line in lines if line.startswith("sha256:")), None)
    return Gpu("", capability, 0).architecture if capability else None, digest


def differences(recipe: Recipe, config: Mapping[str, Any]) -> list[str]:
    """Every key of an engine's config.json that contradicts the recipe, a line each."""
    found = {**_part(config, "build_config"), **_part(_part(config, "build_config"), "plugin_config")}
    found |= _part(_part(config, "build_config"), "lora_config")
    pretrained = _part(config, "pretrained_config")
    lines = [] if config.get("version") else ["version is missing"]
    for name, value in build_flags(recipe).items():
        key = _RECORDED_AS.get(name, name)
        if name not in _NOT_RECORDED and not _is_same(name, value, found.get(key)):
            lines.append(f"{key} is {found.get(key)!r}, asked for {value!r}")
    quantization, mapping = _part(pretrained, "quantization"), _part(pretrained, "mapping")
    expected = {
        "quant_algo": (quantization.get("quant_algo"), FORMATS[recipe.precision].algorithm),
        "kv_cache_quant_algo": (quantization.get("kv_cache_quant_algo"), KV_ALGORITHMS[recipe.quantization.kv_cache]),
        "tp_size": (mapping.get("tp_size", 1), recipe.parallelism.tp),
        "pp_size": (mapping.get("pp_size", 1), recipe.parallelism.pp),
    }
    return lines + [f"{key} is {is_!r}, asked for {asked!r}" for key, (is_, asked) in expected.items() if is_ != asked]


def _is_same(name: str, asked: FlagValue, found: Any) -> bool:
    """Whether an engine says what was asked: "paged" is written PAGED, enable is true, auto becomes a dtype."""
    if asked is False:
        return not found
    if asked == "auto":
        return found not in {None, False, "disable"}
    if isinstance(asked, str) and asked in {"enable", "disable"}:
        return found in ({True, "enable"} if asked == "enable" else {False, None, "disable"})
    if name == "lora_target_modules":
        return sorted(found or []) == sorted(str(asked).split())
    if isinstance(asked, str) and isinstance(found, str):
        return found.rpartition(".")[2].lower() == asked.lower()
    return bool(found == asked)


def _part(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name) or {}
    if not isinstance(part, dict):
        raise ValueError(f"{name} is {type(part).__name__}, must be an object")  # noqa: TRY004 - of a file, not of a caller
    return part
