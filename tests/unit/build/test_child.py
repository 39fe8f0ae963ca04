"""A child process answers, or its failure is one line with its reason; what it prints is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trident.errors import EngineError, HostError, RecipeError
from trident_build.child import run_in_child
from trident_build.progress import Silent

MODULE = """
import os, signal, sys
from trident.errors import EngineError
from trident_build.child import report_steps, serve_actions
def answer(number):
    print("noise on standard output")
    for done in range(3):
        sys.stderr.write("unended ")
        report_steps(done, 3)
    return {"number": number + 1, "much": "x" * 1_000_000}
def fail(message):
    raise ValueError(message)
def refuse():
    raise EngineError("said on purpose")
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def offline():
    return os.environ.get("HF_HUB_OFFLINE")
if __name__ == "__main__":
    serve_actions(answer, fail, refuse, die, offline)
"""


class Counting(Silent):
    """Remembers the steps it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def steps(self, done: int, total: int) -> None:
        self.seen.append((done, total))


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "childish.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_the_answer_comes_back_whole_and_noise_goes_to_the_log(tmp_path: Path) -> None:
    stage, log = Counting(), tmp_path / "log"
    answer = run_in_child("no", "childish", "answer", stage=stage, log=log, number=1)
    assert (answer["number"], len(answer["much"])) == (2, 1_000_000)
    assert stage.seen == [(0, 3), (1, 3), (2, 3)]
    assert "noise on standard output" in log.read_text()
    assert "unended unended unended " in log.read_text()
    assert "trident-steps" not in log.read_text()
    assert log.read_text().startswith(f"$ {sys.executable} -m childish answer <<< '{{\"number\": 1}}'")


def test_a_failure_is_one_line_with_its_reason() -> None:
    with pytest.raises(RecipeError, match=r"^it cannot work: two lines$"):
        run_in_child("it cannot work", "childish", "fail", message="two\nlines")
    with pytest.raises(RecipeError, match=r"it cannot work: .*No module named absent"):
        run_in_child("it cannot work", "absent", "fail")


def test_our_own_errors_keep_their_kind() -> None:
    with pytest.raises(EngineError, match=r"^said on purpose$"):
        run_in_child("it cannot work", "childish", "refuse")


def test_a_full_disk_and_a_killed_child_are_the_machine_s() -> None:
    with pytest.raises(HostError, match="it cannot work: no space is left on the disk"):
        run_in_child("it cannot work", "childish", "fail", message="[Errno 28] No space left on device: 'x'")
    with pytest.raises(HostError, match="its process was killed by SIGKILL; is there enough memory"):
        run_in_child("it cannot work", "childish", "die")


def test_a_child_whose_parent_died_while_it_imported_does_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "childish", "offline"]
    environ = {**os.environ, "TRIDENT_BUILD_PID": "1"}
    ended = subprocess.run(command, input="{}", capture_output=True, text=True, env=environ, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")


def test_only_a_child_that_is_told_so_may_use_the_hub() -> None:
    assert run_in_child("no", "childish", "offline") == "1"
    assert run_in_child("no", "childish", "offline", is_online=True) is None
