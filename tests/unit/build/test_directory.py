"""Engine directories appear whole or not at all, whoever is killed when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trident_build.directory import BUILDING, file_sums, install, workspace

# Builds a 3 MB engine file by file and stops for ever (or installs it) when told to.
BUILDER = """
import sys, time
from pathlib import Path
from trident_build.directory import BUILDING, install, workspace
engines, last_step = Path(sys.argv[1]), sys.argv[2]
with workspace(engines, BUILDING, "tiny") as folder:
    (folder / "weights.bin").write_bytes(bytes(3_000_000))
    if last_step == "install":
        install(folder, engines / "tiny" / "v1")
    print("now", flush=True)
    time.sleep(600)
"""


def killed_builder(engines: Path, last_step: str) -> None:
    """Run the builder up to `last_step`, then kill -9."""
    command = [sys.executable, "-c", BUILDER, str(engines), last_step]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "now\n"
        builder.kill()


def test_a_builder_killed_in_the_middle_leaves_no_engine_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    killed_builder(tmp_path, "build")
    assert not (tmp_path / "tiny").exists()
    assert len(list(tmp_path.glob(f"{BUILDING}*"))) == 1
    with workspace(tmp_path, BUILDING, "other") as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_builder_killed_after_installing_leaves_a_whole_engine(tmp_path: Path) -> None:
    killed_builder(tmp_path, "install")
    assert (tmp_path / "tiny" / "current" / "weights.bin").stat().st_size == 3_000_000


def test_a_living_builder_keeps_its_folder(tmp_path: Path) -> None:
    with workspace(tmp_path, BUILDING, "one") as one:
        with workspace(tmp_path, BUILDING, "two") as two:
            assert one.is_dir()
            assert two.is_dir()
        assert one.is_dir()


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), workspace(tmp_path, BUILDING, "one") as folder:  # noqa: PT012 - both matter
        (folder / "half").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def built(engines: Path, content: str) -> Path:
    folder = engines / f"{BUILDING}tiny-1"
    folder.mkdir()
    (folder / "weights.bin").write_text(content)
    return folder


def test_an_installed_engine_replaces_its_own_version_and_becomes_current(tmp_path: Path) -> None:
    target = tmp_path / "tiny" / "v1"
    install(built(tmp_path, "old"), target)
    install(built(tmp_path, "new"), target)
    assert (tmp_path / "tiny" / "current" / "weights.bin").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        ".promoted", "current", "tiny", "v1", "weights.bin",
    ]  # fmt: skip


def test_sums_cover_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    for name in ("manifest.json", "b.bin", "tokenizer/tokenizer.json"):
        (tmp_path / name).write_text(name)
    assert list(file_sums(tmp_path)) == ["b.bin", "tokenizer/tokenizer.json"]
