"""How many processes a TensorRT-LLM engine is served by, and with which arguments and variables.

The LLM API behind Trident's own engine model starts its workers itself: one tritonserver, whatever the engine. The C++
backend wants one rank a GPU: every rank a tritonserver under mpirun (leader mode), or one tritonserver that spawns its
workers (orchestrator mode). The forms are those of NVIDIA's launch_triton_server.py of TensorRT-LLM 1.2; nothing here
has been run on the machines that this was written on.
"""

from __future__ import annotations

from pathlib import Path

from trident.contract import ENGINE
from trident.errors import HostError, RepositoryError, SettingsError
from trident.repository import check_profile, read_config
from trident.repository_cpp import CONFIG, PROFILE
from trident.repository_render import BuiltEngine
from trident.safety.chain import OutputChain
from trident.safety.policy import read_policy
from trident.settings import Backend, Settings

BACKEND = "tensorrtllm"  # folder of the C++ backend, beside the Python backend's
_THIS_NODE = ("--backend-directory=", "--cache-directory=")  # of the first rank; elsewhere Triton's own defaults hold
_EXPORTED = ("PATH", "LD_LIBRARY_PATH")  # which ranks on other nodes need too


def rank_commands(server: list[str], backend: Backend, world_size: int, shm_prefix: str) -> list[str]:
    """The whole command line for an engine of `world_size` ranks.

    Args:
        server: tritonserver's path and arguments, without the name of its shared memory.
        backend: what runs the engine model.
        world_size: GPUs that the engine was built for.
        shm_prefix: begins the name of every file in /dev/shm; each rank gets one of its own.
    """
    if backend is Backend.PYTHON:
        return [*server, _shm(shm_prefix)]
    server = [*server, f"--model-config-name={PROFILE}"]
    if backend is Backend.CPP_ORCHESTRATOR:
        pools = [f"--cuda-memory-pool-byte-size={gpu}:0" for gpu in range(world_size)]  # the workers want the memory
        return [
            "mpirun",
            "--allow-run-as-root",
            "-n",
            "1",
            *server,
            "--enable-peer-access=false",
            *pools,
            _shm(shm_prefix),
        ]
    if world_size == 1:
        return [*server, _shm(shm_prefix)]
    line = ["mpirun", "--allow-run-as-root", *(part for name in _EXPORTED for part in ("-x", name))]
    for rank in range(world_size):
        arguments = server if rank == 0 else _engine_only(server)
        line += [*([":"] if rank else []), "-n", "1", *arguments, _shm(f"{shm_prefix}{rank}_")]
    return line


def _shm(prefix: str) -> str:
    return f"--backend-config=python,shm-region-prefix-name={prefix}"


def _engine_only(server: list[str]) -> list[str]:
    """A rank that is not the first loads the engine alone, and never listens: `initialize` returns at the end."""
    left_out = ("--model-control-mode=", *_THIS_NODE)
    kept = [argument for argument in server if not argument.startswith(left_out)]
    return [*kept, "--model-control-mode=explicit", f"--load-model={ENGINE.name}"]


def rank_environment(backend: Backend) -> dict[str, str]:
    """The variables that tell the C++ backend its mode."""
    if backend is not Backend.CPP_ORCHESTRATOR:
        return {}
    return {"TRTLLM_ORCHESTRATOR": "1", "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1"}


def check_profile_serves(settings: Settings, repository: Path, engine: BuiltEngine) -> None:
    """Whether the repository's profile is this engine's, and the deployment asks for nothing that it cannot give.

    Raises:
        RepositoryError: there is no profile, it leaves the contract, or it is for another engine.
        SettingsError: output checks, which need Trident's engine model.
    """
    path = repository / ENGINE.name / CONFIG
    again = f"write it with 'trident repository render {settings.engine} --output DIR' and serve --repository DIR"
    if not path.is_file():
        raise RepositoryError(f"{repository} has no {ENGINE.name}/{CONFIG}; {again}")
    if lines := check_profile(repository):
        raise RepositoryError(f"{repository} leaves the contract: " + "; ".join(lines))
    named = read_config(path).parameters["gpt_model_path"].string_value
    if Path(named).resolve() != engine.directory:
        raise RepositoryError(f"{path} is for the engine at {named}, not for {engine.directory}; {again}")
    if OutputChain(read_policy(settings.checks)).is_active:
        raise SettingsError(
            f"TRIDENT_CHECKS has output checks, which need Trident's own engine model; leave them out, or serve with "
            f"--backend {Backend.PYTHON.value}"
        )


def check_backend(backends: Path) -> None:
    """Whether the C++ backend is installed in the folder of Triton's backends.

    Raises:
        HostError: it is not.
    """
    if not (backends / BACKEND).is_dir():
        raise HostError(
            f"no C++ backend in {backends}: it has no {BACKEND}; use NVIDIA's tritonserver:26.07-trtllm-python-py3"
        )
