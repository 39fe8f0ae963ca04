"""`trident doctor`: whatever a machine lacks is one line that says what to do; what is not needed is no fault."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trident.cli import app
from trident.doctor import Machine, examine, read_machine
from trident.doctor.gpu import parse_gpus
from trident.doctor.machine import leftovers
from trident.doctor.releases import as_numbers, read_table
from trident.doctor.software import RELEASE, WHEEL_SERVERS, runnable_kinds
from trident.manifest import EngineKind
from trident.settings import Settings, read_settings

TABLE = read_table()
ROOMY = 1 << 36
LAPTOP = Machine(
    python=(3, 11),
    environ={},
    packages={"nvidia-pytriton": "0.7.0", "openvino-genai": "2026.4.1.0"},
    stub="/stub",
    shm_bytes=1 << 30,
    open_files=4096,
    locked_bytes=8 << 20,
    engines_disk=("/engines", ROOMY),
    temporary_disk=("/scratch", ROOMY),
)
H100 = "0, NVIDIA H100 80GB HBM3, 81559, 9.0, 590.44.01\n"
SMI = "| NVIDIA-SMI 590.44.01   Driver Version: 590.44.01   CUDA Version: 13.1 |\n"
IMAGE = dataclasses.replace(
    LAPTOP,
    python=(3, 12),
    environ={RELEASE: "26.07"},
    packages={"tensorrt-llm": "1.2.1"},
    image_server="2.71.0",
    smi=SMI,
    smi_gpus=H100,
    locked_bytes=-1,
)


def wrong(machine: Machine, host: str = "127.0.0.1") -> dict[str, str]:
    """Name -> what was found and the fix, of every fact that is wrong."""
    facts = examine(machine, Settings(host=host))
    return {fact.name: f"{fact.found}; {fact.fix}" for fact in facts if not fact.is_ok}


def found(machine: Machine, name: str) -> str:
    return "\n".join(fact.found for fact in examine(machine, Settings()) if fact.name == name)


@pytest.mark.parametrize("machine", [LAPTOP, IMAGE], ids=["laptop", "image"])
def test_nothing_is_wrong_with_a_machine_that_has_what_it_needs(machine):
    assert wrong(machine) == {}


@pytest.mark.parametrize(
    ("machine", "changes", "name", "says"),
    [
        (LAPTOP, {"python": (3, 13)}, "python", "3.13; make an environment with Python 3.10"),
        (LAPTOP, {"python_trouble": "no shared library; apt install"}, "python", "no shared library; apt install"),
        (LAPTOP, {"stub_trouble": "no stub for it; make an environment"}, "stub", "no stub for it; make an env"),
        (LAPTOP, {"packages": {"openvino-genai": "1"}}, "triton", "none; pip install 'trident-llm[cpu]'"),
        (LAPTOP, {"packages": {"nvidia-pytriton": "0.9"}}, "triton", "pip install nvidia-pytriton==0.7.0"),
        (LAPTOP, {"packages": {"nvidia-pytriton": "0.7.0"}}, "engine kinds", "replay; pip install 'trident-llm[cpu]'"),
        (LAPTOP, {"shm_bytes": 32 << 20}, "shared memory", "32 MiB, 64 MiB needed; docker run --shm-size 1g"),
        (LAPTOP, {"shm_leftovers": ("trident_0a1b2c3d_x",)}, "shm leftovers", "remove 'trident_0a1b2c3d_*'"),
        (LAPTOP, {"open_files": 256}, "open files", "256; ulimit -n"),
        (LAPTOP, {"port_trouble": "port 8000 is in use; choose another"}, "ports", "port 8000 is in use; choose"),
        (LAPTOP, {"engines_disk": ("/engines", 5 << 20)}, "disk", "5 MiB free for /engines; trident engines gc"),
        (LAPTOP, {"temporary_disk": ("/scratch", 5 << 20)}, "disk", "5 MiB free for /scratch; make room.*TMPDIR"),
        (LAPTOP, {"smi_trouble": "No devices were found"}, "gpu", "nvidia-smi: No devices were found; install"),
        (IMAGE, {"shm_bytes": 512 << 20}, "shared memory", "512 MiB, 1 GiB needed"),
        (IMAGE, {"locked_bytes": 8 << 20}, "locked memory", "8 MiB; ulimit -l unlimited"),
        (IMAGE, {"environ": {}}, "release", "unknown; use nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3"),
        (IMAGE, {"packages": {"tensorrt-llm": "1.1.0"}}, "tensorrt-llm", "1.1.0, but image 26.07 came with 1.2.1"),
        (IMAGE, {"packages": {"tensorrt-llm": "0.20.0"}}, "engine kinds", "replay; "),
        (IMAGE, {"smi_gpus": "0, Tesla V100, 32768, 7.0, 590.44.01"}, "gpu", "sm70.*needs Ampere"),
        (IMAGE, {"smi_gpus": H100 + "1, NVIDIA L40S, 46068, 8.9, 590.44.01"}, "gpu", "CUDA_VISIBLE_DEVICES"),
        (IMAGE, {"smi": SMI.replace("13.1", "12.4")}, "cuda", "12.4 of the driver, the image needs 13.1"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(machine, changes, name, says):
    lines = wrong(dataclasses.replace(machine, **changes))
    assert set(lines) >= {name}
    for part in says.split(".*"):
        assert part in lines[name]
    assert all("\n" not in line and not line.endswith("; ") for line in lines.values())


@pytest.mark.parametrize("release", ["24.10", "25.08", "26.05"])
def test_an_image_with_open_bulletins_is_refused_whatever_it_listens_on(release):
    line = wrong(dataclasses.replace(IMAGE, environ={RELEASE: release}, packages={"tensorrt-llm": "1.2.1"}))["release"]
    assert line.startswith(f"{release}: at least ")
    assert "the last fixed in 26.06; deploy nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3" in line


@pytest.mark.parametrize(("host", "names"), [("127.0.0.1", set()), ("::1", set()), ("0.0.0.0", {"release"})])
def test_the_wheels_old_server_is_tolerated_on_loopback_only(host, names):
    assert set(wrong(LAPTOP, host)) == names


def test_a_release_without_a_row_in_the_table_says_so():
    machine = dataclasses.replace(IMAGE, environ={RELEASE: "26.10"})
    assert wrong(machine) == {}
    assert "not in the table of 2026-11" in found(machine, "release")


def test_no_gpu_is_no_fault():
    assert found(LAPTOP, "gpu") == "none; engines for a CPU only"


def test_an_older_driver_is_told_what_the_image_was_made_with():
    machine = dataclasses.replace(IMAGE, smi_gpus=H100.replace("590.44.01", "580.65.06"))
    assert "made with 590.44.01" in found(machine, "driver")


def test_advisories_without_a_fix_are_counted():
    assert "6 known vulnerabilities without a fix in it" in found(IMAGE, "tensorrt-llm")


@pytest.mark.parametrize(
    ("version", "kinds"),
    [
        ("0.21.0", []),
        ("1.0.0", [EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH]),
        ("1.2.1", [EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH]),
        ("1.3.0rc12", [EngineKind.TENSORRT_LLM_PYTORCH]),
        ("1.4.0rc1", [EngineKind.TENSORRT_LLM_PYTORCH]),
    ],
)
def test_the_version_of_tensorrt_llm_decides_which_engines_run(version, kinds):
    assert list(runnable_kinds({"tensorrt-llm": version}, num_gpus=1)) == [*kinds, EngineKind.REPLAY]
    assert list(runnable_kinds({"tensorrt-llm": version}, num_gpus=0)) == [EngineKind.REPLAY]


def test_rows_of_gpus_that_say_nothing_are_left_out():
    gpus = parse_gpus(H100 + "1, NVIDIA H100, [N/A], [N/A], 590.44.01\nFailed to initialize NVML\n")
    assert [(gpu.index, gpu.memory_mib, gpu.formats) for gpu in gpus] == [(0, 81559, "FP8, INT4-AWQ")]


def test_versions_sort_as_their_makers_count_them():
    ordered = ["24.10", "25.07", "26.06"], ["1.2.1", "1.3.0rc3", "1.3.0rc12", "1.3.0"], ["580.65.06", "590.44.01"]
    for versions in ordered:
        assert sorted(versions, key=as_numbers) == versions


def test_the_minimum_is_the_first_release_without_an_open_bulletin_and_the_default_is_in_the_table():
    assert TABLE.open_bulletins(TABLE.minimum_release) == ()
    before = [image.release for image in TABLE.images if as_numbers(image.release) < as_numbers(TABLE.minimum_release)]
    assert all(TABLE.open_bulletins(release) for release in before)
    assert TABLE.image(TABLE.default_release) is not None
    assert {release for release, _ in WHEEL_SERVERS.values()} <= {image.release for image in TABLE.images}


def test_only_files_of_our_servers_that_no_process_has_mapped_are_left_over(tmp_path):
    shm, processes = tmp_path / "shm", tmp_path / "proc"
    for name in ("trident_0a1b2c3d_one", "trident_ffffffff_two", "trident_notes", "other_0a1b2c3d_x"):
        (shm / name).parent.mkdir(exist_ok=True)
        (shm / name).touch()
    (processes / "7").mkdir(parents=True)
    (processes / "7" / "maps").write_text("7f00-7f01 rw-s 0 00:01 3 /dev/shm/trident_ffffffff_two\n")
    assert leftovers(shm, processes) == ("trident_0a1b2c3d_one",)


def test_this_machine_is_read(tmp_path):
    machine = read_machine(read_settings({}, engines=tmp_path / "not" / "there"))
    assert machine.python == sys.version_info[:2]
    assert machine.shm_bytes > 0
    assert machine.engines_disk[0] == str(tmp_path / "not" / "there")
    assert machine.engines_disk[1] > 0
    assert [fact.name for fact in examine(machine, Settings())][:4] == ["python", "stub", "triton", "release"]


def test_the_verb_prints_a_line_for_each_fact_and_fails_when_one_is_wrong(monkeypatch):
    monkeypatch.setattr("trident.doctor.read_machine", lambda _: dataclasses.replace(LAPTOP, shm_bytes=32 << 20))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "WRONG  shared memory     32 MiB, 64 MiB needed; docker run --shm-size 1g" in result.stdout
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == 1
    assert [fact["name"] for fact in json.loads(as_json.stdout) if not fact["is_ok"]] == ["shared memory"]


def test_the_verb_ends_with_what_to_do_next_when_nothing_is_wrong(monkeypatch):
    monkeypatch.setattr("trident.doctor.read_machine", lambda _: LAPTOP)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("next")


def test_the_document_explains_every_bulletin_in_the_table():
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    for bulletin in (*TABLE.triton_bulletins, *TABLE.tensorrt_llm_bulletins):
        assert bulletin.bulletin in text
        assert [cve for cve in bulletin.cves if cve.removeprefix("CVE-") not in text] == []
