"""Everything a server is started with: its command line, its environment, its home.

A home is a temporary folder with the Python backend and the stub of the running Python, as
symbolic links. Reference: `tritonserver --help` of release 24.10.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trident.engines.load import check_embeds, check_generates
from trident.engines.preflight import GPU_KINDS, check_preflight
from trident.manifest import Manifest, find_engine, read_manifest
from trident.repository_render import read_engine
from trident.server.host import STUB, Runtime, find_runtime
from trident.server.ports import check_ports
from trident.server.ranks import BACKEND, check_backend, check_profile_serves, rank_commands, rank_environment
from trident.server.repository import embedding_repository, find_repository
from trident.settings import EMBEDDING_VARIABLE, PREFIX, Backend, Settings

RESTRICTED_APIS = "shared-memory,model-repository,trace,logging"
# Triton puts this prefix before the name that is configured for gRPC; with it, HTTP takes the same header.
_GRPC_PREFIX = "triton-grpc-protocol-"
_RESTRICTED_NAME = "trident-operator"
# For what is left when the requests have been drained; 2.51 can hang in it, and drains no stream of an ensemble itself.
TRITON_EXIT_S = 2
RESTRICTED_HEADER = _GRPC_PREFIX + _RESTRICTED_NAME


@dataclass(frozen=True)
class Launch:
    """One checked deployment; every start and restart of its server uses the same one."""

    settings: Settings
    runtime: Runtime
    repository: Path
    engine_directory: Path
    log_path: Path
    secret: str  # opens the restricted APIs
    shm_prefix: str  # of every file that this server makes in /dev/shm
    world_size: int = 1  # ranks of the engine; more than one process with the C++ backend only
    is_gpu: bool = False  # what is served runs on NVIDIA GPUs
    embedding_directory: Path | None = None  # of the engine behind the model `embedding`; None: it is not served


def prepare(settings: Settings) -> Launch:
    """Check everything that can be known before the start, and choose the server's secret names.

    Raises:
        ConfigurationError: the leaf that fits: HostError, SettingsError, RepositoryError, ManifestError.
    """
    runtime = find_runtime()
    repository = find_repository(settings.repository)
    check_ports(settings)
    engine_directory = find_engine(settings.engines, settings.engine)
    manifest = check_engine(engine_directory)
    embedding_directory = find_embedding(settings)
    if embedding_directory is not None:
        check_preflight(embedding_directory, read_manifest(embedding_directory))
    world_size = 1
    if settings.backend is not Backend.PYTHON:
        engine = read_engine(engine_directory)
        check_profile_serves(settings, repository, engine)
        check_backend(runtime.python_backend.parent)
        world_size = engine.world_size
    token = secrets.token_hex(4)
    return Launch(
        settings=settings,
        runtime=runtime,
        repository=repository,
        engine_directory=engine_directory,
        log_path=Path(tempfile.gettempdir()) / f"trident-{token}.log",
        secret=secrets.token_hex(16),
        shm_prefix=f"trident_{token}_",
        world_size=world_size,
        is_gpu=manifest.kind in GPU_KINDS,
        embedding_directory=embedding_directory,
    )


def check_engine(directory: Path) -> Manifest:
    """The manifest of the engine in `directory`, which this machine can serve.

    Raises:
        ManifestError: it cannot; the line says why, and what to do.
    """
    manifest = read_manifest(directory)
    check_generates(manifest)
    check_preflight(directory, manifest)
    return manifest


def find_embedding(settings: Settings) -> Path | None:
    """The directory of the embedding engine that is to be served too; None where none is asked for.

    Raises:
        ManifestError: there is no such engine, or it makes no embeddings.
    """
    if settings.embedding is None:
        return None
    directory = find_engine(settings.engines, settings.embedding)
    check_embeds(read_manifest(directory))
    return directory


def make_home(runtime: Runtime) -> Path:
    """A new temporary folder with `backends` and room for what the models say; the guard removes it."""
    home = Path(tempfile.mkdtemp(prefix="trident-"))
    backend = home / "backends" / "python"
    backend.mkdir(parents=True)
    for part in runtime.python_backend.iterdir():
        if part.name != STUB:  # NVIDIA's image has it here, the wheel elsewhere
            (backend / part.name).symlink_to(part)
    (backend / STUB).symlink_to(runtime.stub)
    installed = runtime.python_backend.with_name(BACKEND)
    if installed.is_dir():
        backend.with_name(BACKEND).symlink_to(installed)
    followed_folder(home).mkdir()
    return home


def command(launch: Launch, home: Path) -> list[str]:
    """The command line that serves. Models cannot be loaded or unloaded while it runs (control mode none)."""
    settings = launch.settings
    server = [
        str(launch.runtime.binary),
        *(f"--model-repository={folder}" for folder in _repositories(launch)),
        f"--backend-directory={home / 'backends'}",
        f"--cache-directory={launch.runtime.caches}",
        "--disable-auto-complete-config",  # saves one extra process per model at start, about 1.5 s
        "--model-control-mode=none",
        f"--http-address={settings.host}",
        f"--http-port={settings.http_port}",
        f"--grpc-address={settings.host}",
        f"--grpc-port={settings.grpc_port}",
        f"--metrics-address={settings.host}",
        f"--metrics-port={settings.metrics_port}",
        f"--allow-gpu-metrics={str(launch.is_gpu).lower()}",  # nv_gpu_*; without a GPU NVML and DCGM would warn
        "--pinned-memory-pool-byte-size=0",
        f"--http-restricted-api={RESTRICTED_APIS}:{RESTRICTED_HEADER}={launch.secret}",
        f"--grpc-restricted-protocol={RESTRICTED_APIS}:{_RESTRICTED_NAME}={launch.secret}",
        f"--exit-timeout-secs={TRITON_EXIT_S}",
    ]
    return rank_commands(server, settings.backend, launch.world_size, launch.shm_prefix)


def _repositories(launch: Launch) -> tuple[Path, ...]:
    is_served = launch.embedding_directory is not None
    return (launch.repository, *((embedding_repository(),) if is_served else ()))


def drain_file(home: Path) -> Path:
    """Once it is there, the engine model takes nothing new."""
    return home / "draining"


def engine_link(home: Path) -> Path:
    """The models' engine: a link, so that another version can take its place (see promotion.py)."""
    return home / "engine"


def followed_folder(home: Path) -> Path:
    """Where each model process writes which engine it has taken in, in a file named for its process id."""
    return home / "followed"


def environment(launch: Launch, home: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of the server and its model processes.

    The stub's interpreter is an isolated one (PyConfig_InitIsolatedConfig): it ignores PYTHONPATH and
    finds its environment, editable installs included, through the first `python3` on PATH.
    """
    given = {
        PREFIX + name.upper(): str(value)
        for name, value in launch.settings.model_dump(mode="json").items()
        if value is not None and name != "repository"
    }
    if launch.embedding_directory is not None:
        given[EMBEDDING_VARIABLE] = str(launch.embedding_directory)
    libraries = [str(folder) for folder in launch.runtime.library_path]
    return {
        **inherited,
        **given,
        **rank_environment(launch.settings.backend),
        "TRIDENT_REPOSITORY": str(launch.repository),
        "TRIDENT_ENGINE_DIRECTORY": str(engine_link(home)),
        "TRIDENT_FOLLOWED_FOLDER": str(followed_folder(home)),
        "TRIDENT_DRAIN_FILE": str(drain_file(home)),
        "PATH": _joined(str(launch.runtime.executable_path), inherited.get("PATH")),
        "LD_LIBRARY_PATH": _joined(*libraries, inherited.get("LD_LIBRARY_PATH")),
    }


def _joined(*folders: str | None) -> str:
    return os.pathsep.join(folder for folder in folders if folder)
