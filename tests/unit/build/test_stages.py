"""What a stage made is used again while it is intact and its inputs are the same; otherwise it is made anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trident_build.progress import Silent
from trident_build.stages import RECORD, Stages, place_files, stage_key

KILLED = """
import os, signal, sys
from pathlib import Path
from trident_build.progress import Silent
from trident_build.stages import Stages
def work(folder):
    (folder / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
Stages(Path(sys.argv[1])).make("quantize", {"a": 1}, work, Silent())
"""


class Work:
    """Writes one file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("weights")


def test_equal_inputs_are_worked_on_once(tmp_path: Path) -> None:
    stages, work = Stages(tmp_path), Work()
    first = stages.make("quantize", {"a": 1}, work, Silent())
    assert stages.make("quantize", {"a": 1}, work, Silent()) == first
    assert work.times == 1
    assert stages.make("quantize", {"a": 2}, work, Silent()) != first
    assert work.times == 2


@pytest.mark.parametrize("damage", ["other", None])
def test_a_damaged_output_is_made_again(damage: str | None, tmp_path: Path) -> None:
    stages, work = Stages(tmp_path), Work()
    weights = stages.make("quantize", {}, work, Silent()) / "inner" / "weights"
    weights.unlink()
    if damage is not None:
        weights.write_text(damage)
    stages.make("quantize", {}, work, Silent())
    assert (work.times, weights.read_text()) == (2, "weights")


def test_a_stage_that_fails_or_is_killed_leaves_nothing_that_would_be_taken(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Stages(tmp_path).make("quantize", {"a": 1}, fail, Silent())
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -9
    work = Work()
    made = Stages(tmp_path).make("quantize", {"a": 1}, work, Silent())
    assert work.times == 1
    assert list(tmp_path.iterdir()) == [made]  # the dead one's folder is gone


def test_files_are_placed_without_the_record_and_cost_no_space(tmp_path: Path) -> None:
    made = Stages(tmp_path / "cache").make("quantize", {}, Work(), Silent())
    place_files(made, tmp_path / "engine")
    assert [path.name for path in (tmp_path / "engine").rglob("*")] == ["inner", "weights"]
    assert (tmp_path / "engine" / "inner" / "weights").samefile(made / "inner" / "weights")
    assert (made / RECORD).is_file()


def test_the_key_does_not_depend_on_the_order_of_the_inputs() -> None:
    assert stage_key({"a": 1, "b": 2}) == stage_key({"b": 2, "a": 1}) != stage_key({"a": 1})
