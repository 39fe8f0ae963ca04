"""What the server is started with keeps the promises that only its arguments can keep."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from trident.server.host import STUB, Runtime
from trident.server.launch import Launch, command, environment, make_home
from trident.server.repository import embedding_repository
from trident.settings import Settings


@pytest.fixture
def launch(tmp_path):
    backend = tmp_path / "wheel" / "backends" / "python"
    backend.mkdir(parents=True)
    (backend / "libtriton_python.so").touch()
    (tmp_path / "stub").touch()
    return Launch(
        settings=Settings(grpc_port=9001, exit_timeout_s=3),
        runtime=Runtime(
            binary=tmp_path / "tritonserver",
            python_backend=backend,
            stub=tmp_path / "stub",
            caches=tmp_path / "caches",
            library_path=(Path("/wheel.libs"), Path("/python/lib")),
            executable_path=Path("/venv/bin"),
        ),
        repository=Path("/repository"),
        engine_directory=Path("/engines/tiny/1"),
        log_path=tmp_path / "server.log",
        secret="open-sesame",
        shm_prefix="trident_0_",
    )


def test_operator_apis_are_restricted_on_both_protocols(launch):
    apis = "shared-memory,model-repository,trace,logging"
    arguments = command(launch, Path("/home"))
    assert f"--http-restricted-api={apis}:triton-grpc-protocol-trident-operator=open-sesame" in arguments
    assert f"--grpc-restricted-protocol={apis}:trident-operator=open-sesame" in arguments  # the prefix is Triton's
    assert "--model-control-mode=none" in arguments


def test_every_listener_is_bound_to_the_configured_host(launch):
    arguments = command(launch, Path("/home"))
    assert {a for a in arguments if "-address=" in a} == {
        f"--{listener}-address=127.0.0.1" for listener in ("http", "grpc", "metrics")
    }
    assert "--grpc-port=9001" in arguments


@pytest.mark.parametrize(("is_gpu", "argument"), [(True, "true"), (False, "false")])
def test_metrics_of_gpus_are_there_where_they_are_used(launch, is_gpu, argument):
    arguments = command(dataclasses.replace(launch, is_gpu=is_gpu), Path("/home"))
    assert f"--allow-gpu-metrics={argument}" in arguments


def test_model_processes_get_the_engine_the_settings_and_this_environment(launch):
    variables = environment(launch, Path("/home-of-one"), {"PATH": "/bin", "TRIDENT_GRPC_PORT": "1", "HOME": "/root"})
    assert variables["TRIDENT_ENGINE_DIRECTORY"] == "/home-of-one/engine"
    assert variables["TRIDENT_REPOSITORY"] == "/repository"
    assert variables["TRIDENT_GRPC_PORT"] == "9001"
    assert variables["PATH"] == "/venv/bin:/bin"
    assert variables["LD_LIBRARY_PATH"] == "/wheel.libs:/python/lib"
    assert variables["HOME"] == "/root"


def test_a_home_holds_the_backend_with_the_stub_beside_it(launch, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = make_home(launch.runtime)
    assert {path.name for path in (home / "backends" / "python").iterdir()} == {"libtriton_python.so", STUB}


def test_the_stub_may_lie_in_the_backends_own_folder_as_in_nvidias_image(launch):
    stub = launch.runtime.python_backend / STUB
    stub.touch()
    home = make_home(dataclasses.replace(launch.runtime, stub=stub))
    assert (home / "backends" / "python" / STUB).resolve() == stub.resolve()
    shutil.rmtree(home)


def test_the_model_embedding_is_served_from_a_repository_of_its_own_and_only_when_it_is_asked_for(launch):
    def repositories(given):
        return [a for a in command(given, Path("/home")) if a.startswith("--model-repository=")]

    assert repositories(launch) == ["--model-repository=/repository"]
    asked = dataclasses.replace(launch, embedding_directory=Path("/engines/minilm/1"))
    assert repositories(asked) == ["--model-repository=/repository", f"--model-repository={embedding_repository()}"]
    assert (embedding_repository() / "embedding" / "config.pbtxt").is_file()
    assert "TRIDENT_EMBEDDING_DIRECTORY" not in environment(launch, Path("/home"), {})
    assert environment(asked, Path("/home"), {})["TRIDENT_EMBEDDING_DIRECTORY"] == "/engines/minilm/1"
