"""The command line for engines of several GPUs, as argument lists: nothing here starts a server."""

from __future__ import annotations

import shutil

import pytest
from tests.unit.tensorrt_engines import write_tensorrt_engine
from typer.testing import CliRunner

from trident.cli import app
from trident.errors import HostError, RepositoryError, SettingsError
from trident.repository_cpp import CONFIG
from trident.repository_render import read_engine, render_repository
from trident.server.ranks import check_backend, check_profile_serves, rank_commands, rank_environment
from trident.server.repository import default_repository
from trident.settings import Backend, read_settings

SERVER = [
    "/opt/tritonserver/bin/tritonserver",
    "--model-repository=/repository",
    "--backend-directory=/home-of-one/backends",
    "--disable-auto-complete-config",
    "--model-control-mode=none",
    "--http-port=8000",
]
CHECKS = '[deny_list]\nmode = "enforce"\nwords = ["secret"]\n'


def ranks(line: list[str]) -> list[list[str]]:
    """The arguments of each rank behind mpirun's own."""
    assert line[0] == "mpirun"
    parts: list[list[str]] = [[]]
    for argument in line[line.index("-n") :]:
        if argument == ":":
            parts.append([])
        else:
            parts[-1].append(argument)
    return parts


@pytest.mark.parametrize("world_size", [1, 4])
def test_the_llm_api_starts_its_workers_itself(world_size):
    line = rank_commands(SERVER, Backend.PYTHON, world_size, "shm_")
    assert line == [*SERVER, "--backend-config=python,shm-region-prefix-name=shm_"]
    assert rank_environment(Backend.PYTHON) == {}


def test_one_rank_needs_no_mpirun():
    line = rank_commands(SERVER, Backend.CPP, 1, "shm_")
    assert line[: len(SERVER)] == SERVER
    assert "--model-config-name=cpp" in line


def test_leader_mode_is_one_tritonserver_a_gpu_with_shared_memory_of_its_own():
    parts = ranks(rank_commands(SERVER, Backend.CPP, 4, "shm_"))
    assert len(parts) == 4
    for number, part in enumerate(parts):
        assert part[:3] == ["-n", "1", SERVER[0]]
        assert f"--backend-config=python,shm-region-prefix-name=shm_{number}_" in part
        assert "--disable-auto-complete-config" in part
        assert "--model-config-name=cpp" in part
    assert rank_environment(Backend.CPP) == {}


def test_the_other_ranks_load_the_engine_alone():
    """As in NVIDIA's own launcher: two preprocessings would answer nobody."""
    first, *others = ranks(rank_commands(SERVER, Backend.CPP, 3, "shm_"))
    assert "--model-control-mode=none" in first
    for part in others:
        assert "--model-control-mode=none" not in part
        assert part[part.index("--model-control-mode=explicit") + 1] == "--load-model=tensorrt_llm"
        assert not [argument for argument in part if "/home-of-one" in argument]  # which other nodes have not


def test_orchestrator_mode_is_one_server_that_spawns():
    (part,) = ranks(rank_commands(SERVER, Backend.CPP_ORCHESTRATOR, 2, "shm_"))
    assert {"--cuda-memory-pool-byte-size=0:0", "--cuda-memory-pool-byte-size=1:0"} <= set(part)
    assert rank_environment(Backend.CPP_ORCHESTRATOR) == {
        "TRTLLM_ORCHESTRATOR": "1",
        "TRTLLM_ORCHESTRATOR_SPAWN_PROCESSES": "1",
    }


@pytest.fixture
def engine(tmp_path):
    return read_engine(write_tensorrt_engine(tmp_path / "engine", "qwen"))


@pytest.fixture
def repository(engine, tmp_path):
    render_repository(engine, default_repository(), tmp_path / "repository")
    return tmp_path / "repository"


def test_the_profile_of_another_engine_is_refused_before_the_start(engine, tmp_path):
    settings = read_settings({}, engine="qwen")
    with pytest.raises(RepositoryError, match=r"for the engine at /engine, not for .*trident repository render qwen"):
        check_profile_serves(settings, default_repository(), engine)
    bare = shutil.copytree(default_repository(), tmp_path / "bare")
    (bare / "tensorrt_llm" / CONFIG).unlink()
    with pytest.raises(RepositoryError, match=r"has no tensorrt_llm/configs/cpp\.pbtxt"):
        check_profile_serves(settings, bare, engine)


def test_output_checks_are_refused_before_the_start(engine, repository, tmp_path):
    (tmp_path / "checks.toml").write_text(CHECKS)
    check_profile_serves(read_settings({}), repository, engine)
    with pytest.raises(SettingsError, match="need Trident's own engine model"):
        check_profile_serves(read_settings({}, checks=tmp_path / "checks.toml"), repository, engine)


def test_a_triton_without_the_backend_is_refused(tmp_path):
    with pytest.raises(HostError, match="no C\\+\\+ backend"):
        check_backend(tmp_path)


def dry_run(*options: str) -> str:
    done = CliRunner().invoke(app, ["serve", "--dry-run", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_dry_run_prints_the_ranks_of_the_engine_s_mapping_and_that_nobody_ran_it(engine, repository):
    said = dry_run("--engine", str(engine.directory), "--repository", str(repository), "--backend", "cpp")
    assert "4 ranks, each a tritonserver" in said
    assert said.count("/opt/tritonserver/bin/tritonserver") == 4
    assert "# not run here" in said
    assert "export TRIDENT_BACKEND=cpp" in said


def test_a_dry_run_of_our_own_engine_model_is_one_server(engine):
    said = dry_run("--engine", str(engine.directory))
    assert "the LLM API starts 4 workers itself" in said
    assert said.count("bin/tritonserver") == 1
    assert "mpirun" not in said


def test_a_dry_run_shows_no_secret(engine):
    assert "trident-operator=CHOSEN-AT-THE-START" in dry_run("--engine", str(engine.directory))
