"""Facts about Python, the server, NVIDIA's image and what runs engines. Pure functions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from trident.doctor.machine import Machine
from trident.doctor.releases import Table, as_numbers
from trident.engines.preflight import Fact
from trident.manifest import EngineKind

RELEASE = "NVIDIA_TRITON_SERVER_VERSION"  # set by NVIDIA's images: "26.07"
# The server in the wheel nvidia-pytriton: release of the image that it was taken from, and its own version.
WHEEL_SERVERS = {"0.7.0": ("24.10", "2.51.0")}
_PYTHONS = ((3, 10), (3, 11), (3, 12))
_LLM_API = as_numbers("1.0")  # stable since, see the compatibility matrix
_NO_ENGINES = as_numbers("1.3rc0")  # TensorRT engines and trtllm-build were removed in its release candidates


def python_fact(machine: Machine) -> Fact:
    """The version, and the shared library that Triton's models are run with."""
    version = ".".join(str(part) for part in machine.python)
    if machine.python not in _PYTHONS:
        return Fact("python", False, version, "make an environment with Python 3.10, 3.11 or 3.12")
    if machine.python_trouble:
        what, fix = _halves(machine.python_trouble)
        return Fact("python", False, f"{version}: {what}", fix)
    return Fact("python", True, f"{version}, with its shared library")


def stub_fact(machine: Machine) -> Fact:
    """The executable that runs a Python model."""
    if machine.stub_trouble:
        return Fact("stub", False, *_halves(machine.stub_trouble))
    return Fact("stub", True, machine.stub)


def triton_fact(machine: Machine) -> Fact:
    """Which tritonserver there is."""
    wheel = machine.packages.get("nvidia-pytriton")
    if machine.image_server is not None:
        return Fact("triton", True, f"{machine.image_server} of NVIDIA's image")
    if wheel is None:
        return Fact("triton", False, "none", "pip install 'trident-llm[cpu]', or run it in NVIDIA's image")
    _, version = WHEEL_SERVERS.get(wheel, ("", "unknown version"))
    return Fact("triton", version != "unknown version", f"{version} of nvidia-pytriton {wheel}", _pinned())


def image_fact(machine: Machine, host: str, table: Table) -> Fact:
    """The release against the bulletins; an old one is tolerated on loopback, and only where it is the wheel's."""
    release = release_of(machine)
    if release is None:
        return Fact("release", False, "unknown", f"use {table.default_image}")
    bulletins = table.open_bulletins(release)
    if not bulletins:
        known = "" if table.image(release) else f"; not in the table of {table.as_of}"
        return Fact("release", True, f"{release}: none of the bulletins known in {table.as_of} is open{known}")
    num_cves = sum(len(one.cves) for one in bulletins)
    found = f"{release}: at least {num_cves} known vulnerabilities, the last fixed in {bulletins[-1].fixed_in}"
    if machine.image_server is None and _is_loopback(host):
        return Fact("release", True, f"{found}; tolerable, as it listens on {host} only: never expose it")
    return Fact("release", False, found, f"deploy {table.default_image} (at least {table.minimum_release})")


def tensorrt_llm_fact(machine: Machine, table: Table) -> Fact:
    """The version that is installed, against the image's row of the table."""
    version = machine.packages.get("tensorrt-llm")
    release = release_of(machine)
    image = table.image(release) if release and machine.image_server is not None else None
    if version is None:
        return Fact("tensorrt-llm", True, "none; needed by engines for NVIDIA GPUs only")
    if image is not None and not version.startswith(image.tensorrt_llm):
        fix = "use the image as NVIDIA made it; an engine runs on the version that built it"
        return Fact("tensorrt-llm", False, f"{version}, but image {image.release} came with {image.tensorrt_llm}", fix)
    bulletins = table.open_tensorrt_llm_bulletins(version)
    count = sum(len(one.cves) for one in bulletins)
    unfixed = f"; {count} known vulnerabilities without a fix in it, see docs/security.md" if count else ""
    return Fact("tensorrt-llm", True, version + unfixed)


def kinds_fact(machine: Machine, num_gpus: int) -> Fact:
    """Which kinds of engines can be served here."""
    kinds = [kind.value for kind in runnable_kinds(machine.packages, num_gpus)]
    useful = [kind for kind in kinds if kind != EngineKind.REPLAY.value]
    fix = "pip install 'trident-llm[cpu]' for a CPU; for NVIDIA GPUs run it in NVIDIA's image"
    return Fact("engine kinds", bool(useful), ", ".join(kinds), fix)


def runnable_kinds(packages: Mapping[str, str], num_gpus: int) -> Iterator[EngineKind]:
    """By what is installed: TensorRT engines need TensorRT-LLM 1.0 to 1.2, its PyTorch backend 1.0 or later."""
    if "openvino-genai" in packages:
        yield EngineKind.OPENVINO
    if "tensorrt-llm" in packages and num_gpus:
        version = as_numbers(packages["tensorrt-llm"])
        if _LLM_API <= version < _NO_ENGINES:
            yield EngineKind.TENSORRT_LLM
        if version >= _LLM_API:
            yield EngineKind.TENSORRT_LLM_PYTORCH
    yield EngineKind.REPLAY


def release_of(machine: Machine) -> str | None:
    """ "26.07": the image's, or that of the server in the wheel; None when neither is known."""
    if machine.image_server is not None:
        return machine.environ.get(RELEASE)
    return WHEEL_SERVERS.get(machine.packages.get("nvidia-pytriton", ""), (None, ""))[0]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pinned() -> str:
    return f"pip install nvidia-pytriton=={', '.join(WHEEL_SERVERS)}"


def _halves(message: str) -> tuple[str, str]:
    """What is wrong, and what to do, of an error's line."""
    what, _, fix = message.partition("; ")
    return what, fix
