"""What this machine brings: the server's binary, the stub of this Python, its shared library.

Everything is looked up and nothing is started; each lack is one HostError that says what to install.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from trident.errors import HostError

STUB = "triton_python_backend_stub"
INSTALL = "pip install 'trident-llm[cpu]'"
PACKAGE = "pytriton"
IMAGE = Path("/opt/tritonserver")  # where NVIDIA's images have it


@dataclass(frozen=True)
class Runtime:
    """Where the parts of tritonserver lie."""

    binary: Path
    python_backend: Path  # folder of libtriton_python.so and triton_python_backend_utils.py
    stub: Path  # the executable that runs one Python model, linked against this Python's libpython
    caches: Path
    library_path: tuple[Path, ...]  # folders for LD_LIBRARY_PATH
    executable_path: Path  # folder that holds this environment's python3


def find_runtime(image: Path = IMAGE, package: str = PACKAGE) -> Runtime:
    """The server of the nvidia-pytriton wheel or, without that wheel, the one of NVIDIA's image.

    Raises:
        HostError: neither is there, or a stub for this Python, or Python's shared library.
    """
    if importlib.util.find_spec(package) is None and (image / "bin" / "tritonserver").is_file():
        root, libraries = image, tuple[Path, ...]()
        stub = image / "backends" / "python" / STUB  # one, for the image's own Python
    else:
        root = wheel_root(package)
        libraries = (root.parents[1] / "nvidia_pytriton.libs",)
        stub = find_stub(root, sys.version_info[:2])
    return Runtime(
        binary=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=stub,
        caches=root / "caches",
        library_path=(*libraries, *unsearched(find_shared_python(library_name(), library_folders()))),
        executable_path=Path(sys.executable).parent,
    )


def wheel_root(package: str = PACKAGE) -> Path:
    """The folder `pytriton/tritonserver`; the package itself is not imported.

    Raises:
        HostError: nvidia-pytriton is not installed, or was built without the server.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise HostError(f"the Triton server is not installed (package nvidia-pytriton); {INSTALL}")
    root = Path(spec.origin).parent / "tritonserver"
    if not (root / "bin" / "tritonserver").is_file():
        raise HostError(f"nvidia-pytriton at {root.parent} carries no server; install its wheel again: {INSTALL}")
    return root


def find_stub(root: Path, version: tuple[int, int]) -> Path:
    """The Python-backend stub for Python `version` under the wheel's `root`.

    Raises:
        HostError: there is none; says for which versions there is one.
    """
    stubs = root / "python_backend_stubs"
    stub = stubs / f"{version[0]}.{version[1]}" / STUB
    if not stub.is_file():
        there = sorted((path.parent.name for path in stubs.glob(f"*/{STUB}")), key=lambda name: int(name.split(".")[1]))
        raise HostError(
            f"the Triton server has no stub for Python {version[0]}.{version[1]}, only for {', '.join(there)}; "
            "make an environment with Python 3.10, 3.11 or 3.12"
        )
    return stub


def find_shared_python(name: str, folders: tuple[Path, ...]) -> Path:
    """The first of the `folders` that holds Python's shared library `name`.

    Raises:
        HostError: none does; this Python was built without it, or its package is not installed.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise HostError(
        f"this Python has no shared library {name}, which Triton's models need; use one that has: "
        f"'apt install libpython{version}' (Debian, Ubuntu), 'uv python install {version}', "
        f"or 'PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install {version}'"
    )


def unsearched(folder: Path) -> tuple[Path, ...]:
    """The folder, unless the loader searches it by itself.

    Such a one must not come first in LD_LIBRARY_PATH: it would hide the CUDA libraries for older drivers (forward
    compatibility) that NVIDIA's image has set there, since the container runtime puts the driver's own into it.
    """
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    searched = {Path(root) / part for root in ("/lib", "/usr/lib") for part in ("", multiarch)}
    return () if folder in searched else (folder,)


def library_name() -> str:
    """The name that the stub asks the loader for; LDLIBRARY is libpython3.X.a where Python is static."""
    return f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"


def library_folders() -> tuple[Path, ...]:
    """Where it may lie: as configured, beside a relocated Python (uv), in Debian's multi-arch folder."""
    configured = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    return (Path(sys.base_prefix) / "lib", configured, configured / multiarch, Path("/usr/lib") / multiarch)
