"""What is read of a machine, all in one place: files, environment, processes, packages. It judges nothing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trident.errors import HostError, SettingsError
from trident.server.host import IMAGE, STUB, find_shared_python, find_stub, library_folders, library_name, wheel_root
from trident.server.ports import check_ports
from trident.settings import Settings

SHM = Path("/dev/shm")  # noqa: S108 - where shm_open(3) puts them
PACKAGES = ("nvidia-pytriton", "openvino-genai", "tensorrt-llm")
SHM_FILE = re.compile(r"trident_[0-9a-f]{8}_.*")  # of a server that `trident serve` started
_SMI_LIMIT_S = 30.0


@dataclass(frozen=True)
class Machine:
    """What was found; what was not is None, or empty."""

    python: tuple[int, int]
    environ: Mapping[str, str]
    packages: Mapping[str, str]  # of PACKAGES, those that are installed -> version
    python_trouble: str = ""  # why its shared library cannot be used
    stub_trouble: str = ""
    stub: str = ""  # its path
    image_server: str | None = None  # version of the Triton in NVIDIA's image, where that is what serves
    smi: str = ""  # `nvidia-smi` prints
    smi_gpus: str = ""  # index, name, memory MiB, compute capability, driver; a line for each
    smi_trouble: str = ""
    shm_bytes: int = 0
    shm_leftovers: tuple[str, ...] = ()  # of servers that live no more
    open_files: int = 0  # soft limit; resource.RLIM_INFINITY is -1
    locked_bytes: int = 0
    port_trouble: str = ""  # the first of the three that cannot be had
    engines_disk: tuple[str, int] = ("engines", 0)  # folder, bytes free
    temporary_disk: tuple[str, int] = ("/tmp", 0)  # noqa: S108 - a name


def read_machine(settings: Settings) -> Machine:
    """Look at this machine; starts nothing but nvidia-smi."""
    packages = _packages()
    is_image = "nvidia-pytriton" not in packages and (IMAGE / "bin" / "tritonserver").is_file()  # as find_runtime
    stub, stub_trouble = _stub(is_image)
    smi, smi_gpus, smi_trouble = _nvidia_smi()
    return Machine(
        python=(sys.version_info[0], sys.version_info[1]),
        environ=os.environ,
        packages=packages,
        python_trouble=_shared_python_trouble(),
        stub=stub,
        stub_trouble=stub_trouble,
        image_server=_image_version() if is_image else None,
        smi=smi,
        smi_gpus=smi_gpus,
        smi_trouble=smi_trouble,
        shm_bytes=shutil.disk_usage(SHM).total if SHM.is_dir() else 0,
        shm_leftovers=leftovers(SHM, Path("/proc")),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        locked_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        port_trouble=_port_trouble(settings),
        engines_disk=_disk(settings.engines.absolute()),
        temporary_disk=_disk(Path(tempfile.gettempdir())),
    )


def leftovers(shm: Path, processes: Path) -> tuple[str, ...]:
    """Files of this user's servers in `shm` that no process under `processes` (/proc) has mapped."""
    files = [path for path in shm.glob("trident_*") if SHM_FILE.fullmatch(path.name)]
    found = {path.name for path in files if path.stat().st_uid == os.getuid()}
    for maps in processes.glob("[0-9]*/maps") if found else ():
        try:
            text = maps.read_text(encoding="utf-8", errors="replace")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        found = {name for name in found if name not in text}
    return tuple(sorted(found))


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _shared_python_trouble() -> str:
    try:
        find_shared_python(library_name(), library_folders())
    except HostError as exc:
        return exc.message
    return ""


def _stub(is_image: bool) -> tuple[str, str]:
    """Its path and what is wrong with it. The image has one, for the image's own Python."""
    if is_image:
        stub = IMAGE / "backends" / "python" / STUB
        linked = re.search(rb"libpython(\d\.\d+)\.so", stub.read_bytes()) if stub.is_file() else None
        wanted = linked[1].decode() if linked else "another version"
        is_ours = wanted == f"{sys.version_info[0]}.{sys.version_info[1]}"
        return str(stub), "" if is_ours else f"the image's stub is for Python {wanted}; install Trident into that one"
    try:
        return str(find_stub(wheel_root(), sys.version_info[:2])), ""
    except HostError as exc:
        return "", exc.message


def _image_version() -> str:
    path = IMAGE / "TRITON_VERSION"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "unknown"


def _nvidia_smi() -> tuple[str, str, str]:
    """What it prints, its table of GPUs, and why it failed."""
    path = shutil.which("nvidia-smi")
    if path is None:
        return "", "", ""
    query = "--query-gpu=index,name,memory.total,compute_cap,driver_version"
    outputs = []
    for arguments in ([], [query, "--format=csv,noheader,nounits"]):
        try:
            done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_SMI_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as exc:
            return "", "", str(exc)
        if done.returncode:
            return "", "", " ".join((done.stderr.strip() or done.stdout.strip()).split())
        outputs.append(done.stdout)
    return outputs[0], outputs[1], ""


def _port_trouble(settings: Settings) -> str:
    try:
        check_ports(settings)
    except (HostError, SettingsError) as exc:
        return exc.message
    return ""


def _disk(folder: Path) -> tuple[str, int]:
    """Of one that is not there yet, what is free where it would be made."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    return str(folder), shutil.disk_usage(there).free
