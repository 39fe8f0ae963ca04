"""What `trident serve` would run, without running it and without asking what this machine can run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from trident.engines.load import check_generates
from trident.engines.preflight import GPU_KINDS
from trident.errors import HostError
from trident.manifest import find_engine, read_manifest
from trident.repository_render import read_engine
from trident.server.host import STUB, Runtime, find_runtime
from trident.server.launch import Launch, command, environment, find_embedding
from trident.server.ranks import check_profile_serves
from trident.server.repository import find_repository
from trident.settings import Backend, Settings

_IMAGE = Path("/opt/tritonserver")  # in NVIDIA's images
_HOME = Path("/tmp/trident-HOME")  # noqa: S108 - a name for what is made at the start, not a file
_SECRET = "CHOSEN-AT-THE-START"  # noqa: S105 - says that it is not shown
_OWN = "TRIDENT_", "TRTLLM_"


def dry_run(settings: Settings) -> list[str]:
    """Lines for the reader: what is served, the variables, the command, and a note where nobody has run it here.

    Raises:
        ConfigurationError: the engine, its config.json, the repository or its profile cannot be served together.
    """
    directory = find_engine(settings.engines, settings.engine)
    manifest = read_manifest(directory)
    check_generates(manifest)
    repository = find_repository(settings.repository)
    world_size = manifest.parallelism.world_size
    if settings.backend is not Backend.PYTHON:
        engine = read_engine(directory)
        check_profile_serves(settings, repository, engine)
        world_size = engine.world_size
    is_gpu = manifest.kind in GPU_KINDS
    launch = Launch(
        settings=settings,
        runtime=_runtime(is_gpu),
        repository=repository,
        engine_directory=directory,
        log_path=_HOME / "server.log",
        secret=_SECRET,
        shm_prefix="trident_HOME_",
        world_size=world_size,
        is_gpu=is_gpu,
        embedding_directory=find_embedding(settings),
    )
    variables = {name: value for name, value in environment(launch, _HOME, {}).items() if name.startswith(_OWN)}
    lines = [f"# {manifest.name}@{manifest.version} ({manifest.kind.value}): {_what(settings.backend, world_size)}"]
    if is_gpu:
        lines.append("# not run here: as in NVIDIA's image, where tritonserver is in /opt/tritonserver")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return [*lines, shlex.join(command(launch, _HOME)).replace(" : ", " \\\n  : ").replace(" --", " \\\n  --")]


def _what(backend: Backend, world_size: int) -> str:
    if backend is Backend.CPP_ORCHESTRATOR:
        return f"one tritonserver, and {world_size} worker(s) that it spawns"
    if backend is Backend.CPP and world_size > 1:
        return f"{world_size} ranks, each a tritonserver; the first one listens"
    if backend is Backend.PYTHON and world_size > 1:
        return f"one tritonserver; the LLM API starts {world_size} workers itself"
    return "one tritonserver"


def _runtime(is_gpu: bool) -> Runtime:
    try:
        if not is_gpu:
            return find_runtime()
    except HostError:
        pass
    return Runtime(
        binary=_IMAGE / "bin" / "tritonserver",
        python_backend=_IMAGE / "backends" / "python",
        stub=_IMAGE / "backends" / "python" / STUB,
        caches=_IMAGE / "caches",
        library_path=(),
        executable_path=Path(sys.executable).parent,
    )
