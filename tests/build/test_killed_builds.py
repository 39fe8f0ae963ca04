"""A build that is killed in any stage leaves nothing installed, and the next one goes on after the last that ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.unit.build.tiny_checkpoint import folder_recipe
from trident.manifest import read_manifest, verify_files
from trident_build import Silent, build_engine
from trident_build.directory import BUILDING

# A build whose process is killed in the middle of the stage that is named, children and all.
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from trident_build import Silent, build_engine, read_recipe
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
class Deadly(Silent):
    has_begun = False
    def stage(self, name):
        if self.has_begun:  # the stage was quicker than the timer
            kill()
        if name == sys.argv[3]:
            self.has_begun, delay_s = True, float(sys.argv[4])
            threading.Timer(delay_s, kill).start() if delay_s else kill()
        return super().stage(name)
build_engine(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), Deadly(), cache=Path(sys.argv[2]).parent / "cache")
"""
# Seconds into it: a stage that takes long is killed while its child works.
STAGES = {
    "fetch": 0, "inspect": 0, "quantize": 3, "compile": 3, "verify": 0.5, "manifest": 0, "quality": 2, "install": 0,
}  # fmt: skip


class Noted(Silent):
    """Remembers what each stage came to."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self._now = ""

    def stage(self, name: str):
        self._now = name
        return super().stage(name)

    def note(self, text: str) -> None:
        self.notes[self._now] = text


def write_recipe(path: Path, checkpoint: Path) -> Path:
    limits = folder_recipe(checkpoint).limits.model_dump(exclude_none=True)
    lines = ['name = "tiny"', 'kind = "openvino"', 'precision = "int8"', "[source]", 'type = "folder"']
    lines += [f'path = "{checkpoint}"', 'model = "Tiny"', 'licence = "Apache-2.0"', "[limits]"]
    lines += [f"{name} = {value}" for name, value in limits.items()]
    path.write_text("\n".join([*lines, "[quality]", "max_perplexity = 1e9", "text_tokens = 512"]))
    return path


def test_killed_in_every_stage_and_resumed(checkpoint: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", checkpoint)
    engines = tmp_path / "engines"
    for stage, delay_s in STAGES.items():
        command = [sys.executable, "-c", KILLED, str(recipe), str(engines), stage, str(delay_s)]
        assert subprocess.run(command, check=False).returncode == -9, stage
        assert all(path.name.startswith(BUILDING) for path in engines.glob("*")), stage
    told = Noted()
    directory = build_engine(folder_recipe(checkpoint), engines, told, cache=tmp_path / "cache")
    assert told.notes["quantize"] == told.notes["compile"] == "kept from an earlier build"
    verify_files(directory, read_manifest(directory))
    assert [path.name for path in engines.iterdir()] == ["tiny"]
    assert not list((tmp_path / "cache" / "stages").glob(".making-*"))


def test_the_children_of_a_killed_build_die_with_it(checkpoint: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", checkpoint)
    command = [sys.executable, "-c", KILLED, str(recipe), str(tmp_path / "engines"), "quantize", "3"]
    mark = {"TRIDENT_TEST_MARK": str(tmp_path)}  # children inherit it
    assert subprocess.run(command, check=False, env={**os.environ, **mark}).returncode == -9
    deadline_s = time.monotonic() + 300  # it may still be importing PyTorch
    while living(str(tmp_path)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def living(mark: str) -> list[str]:
    """Processes that have `mark` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found
