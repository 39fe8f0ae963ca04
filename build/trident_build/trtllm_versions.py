"""Which TensorRT-LLM builds engines, and in which of NVIDIA's images it is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_here
from pathlib import Path

from trident.errors import HostError

EXECUTABLE = "trtllm-build"
VERSION = "1.2.1"  # the last line of releases with trtllm-build
IMAGE = "nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3"  # has that version (Triton's compatibility matrix)
REMOVED_IN = "1.3"  # from its release candidates of July 2026 on
_ASK = "from importlib.metadata import version; print(version('tensorrt_llm'))"
_ASK_LIMIT_S = 60.0


def is_available() -> bool:
    """Whether trtllm-build is on the PATH, as inside NVIDIA's images."""
    return shutil.which(EXECUTABLE) is not None


def compiler_version() -> str | None:
    """The version of the TensorRT-LLM whose trtllm-build is on the PATH; None where there is none.

    Raises:
        HostError: the TensorRT-LLM of this machine no longer builds engines.
    """
    is_here = is_available()
    try:
        version = installed_version(EXECUTABLE) if is_here else installed_here("tensorrt_llm")
    except PackageNotFoundError:
        return None
    check_version(version)
    return version if is_here else None


def check_version(version: str) -> None:
    """Refuse a TensorRT-LLM that no longer builds engines.

    Raises:
        HostError: says which image has one that does.
    """
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    if numbers >= [int(part) for part in REMOVED_IN.split(".")]:
        raise HostError(
            f"TensorRT-LLM {version} no longer builds engines (trtllm-build was removed in {REMOVED_IN}); use "
            f"{VERSION}, as in {IMAGE}, or a recipe of kind 'tensorrt_llm_pytorch'"
        )


def installed_version(executable: str) -> str:
    """The version of the TensorRT-LLM that the command `executable` belongs to, asked of its own interpreter.

    Raises:
        HostError: the command is not there, or its interpreter knows no tensorrt_llm.
    """
    path = shutil.which(executable)
    if path is None:
        raise HostError(f"{executable} is not on the PATH; use {IMAGE}")
    with Path(path).open("rb") as file:
        first = file.readline(4096).decode(errors="replace").strip()
    interpreter = first.removeprefix("#!").split() if first.startswith("#!") else [sys.executable]
    try:
        asked = subprocess.run(
            [*interpreter, "-c", _ASK], capture_output=True, text=True, check=False, timeout=_ASK_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise HostError(f"{path} does not say its TensorRT-LLM version: {exc}") from exc
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostError(f"{path} does not say its TensorRT-LLM version: {last}; use {IMAGE}")
    return asked.stdout.strip()
