"""The whole build, with the real model; what is refused, with a tiny one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.build.tiny_source import recipe_of, source_of, write_gguf, write_wheel
from trident.errors import HostError, RecipeError
from trident.manifest import EngineKind, find_engine, read_manifest, verify_files
from trident_build import ConsoleProgress, Recipe, Silent, build_engine, build_steps, plan_engine
from trident_build.directory import BUILDING
from trident_build.recipe import RecipeLimits
from trident_build.sources import PypiSource

# A build whose progress kills its process when the stage begins that is named.
KILLED_BUILD = """
import os, signal, sys
from pathlib import Path
from trident_build import Silent, build_engine, find_recipe, read_recipe
class Deadly(Silent):
    def stage(self, name):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().stage(name)
build_engine(read_recipe(find_recipe("smollm2-135m")), Path(sys.argv[1]), Deadly())
"""


def test_a_killed_build_leaves_no_engine_and_the_next_one_builds_the_same_bytes(
    recipe: Recipe, engine: Path, tmp_path: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_BUILD, str(tmp_path), "verify"], check=False)
    assert killed.returncode == -9
    assert [path.name.startswith(BUILDING) for path in tmp_path.iterdir()] == [True]

    directory = build_engine(recipe, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [recipe.name]
    assert find_engine(tmp_path, recipe.name) == directory
    again, first = read_manifest(directory), read_manifest(engine)
    assert again.files == first.files
    assert again.model_copy(update={"built_at": first.built_at}) == first


def test_the_engine_is_complete_and_says_what_it_is(recipe: Recipe, engine: Path) -> None:
    manifest = read_manifest(engine)
    verify_files(engine, manifest)
    assert (manifest.name, manifest.kind) == (recipe.name, EngineKind.OPENVINO)
    assert manifest.limits.model_dump().items() <= recipe.limits.model_dump().items()
    assert manifest.version == engine.name == plan_engine(recipe, engine.parents[1]).version
    assert manifest.tokens.eos_ids == (2, 0)
    assert recipe.source.sha256 in manifest.source.files.values()
    on_disk = {path.relative_to(engine).as_posix() for path in engine.rglob("*") if path.is_file()}
    assert on_disk == {*manifest.files, "manifest.json"}


def test_what_is_there_already_is_verified_and_only_promoted(recipe: Recipe, engine: Path, tmp_path: Path) -> None:
    copy = tmp_path / recipe.name / engine.name
    shutil.copytree(engine, copy)
    written = io.StringIO()
    assert build_engine(recipe, tmp_path, ConsoleProgress(Console(file=written, soft_wrap=True))) == copy
    assert "is there already, every file as its manifest says" in written.getvalue()
    assert written.getvalue().count("\n") == 1
    assert (copy.parent / "current").readlink() == Path(engine.name)


def test_the_version_follows_what_the_engine_depends_on(source: PypiSource, tmp_path: Path) -> None:
    recipe = recipe_of(source)
    version = plan_engine(recipe, tmp_path).version
    assert version == plan_engine(recipe_of(source), tmp_path / "elsewhere").version
    assert len(version) == 12
    others = [recipe_of(source, options={"X": 1}), recipe_of(source.model_copy(update={"sha256": "0" * 64}))]
    assert version not in {plan_engine(other, tmp_path).version for other in others}


def test_a_dry_run_names_every_stage_and_touches_nothing(source: PypiSource, tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    steps = build_steps(plan_engine(recipe_of(source), engines, tmp_path / "cache"))
    assert [stage for stage, _ in steps] == ["fetch", "inspect", "compile", "verify", "manifest", "install"]
    assert not engines.exists()


def test_a_recipe_that_does_not_fit_its_model_is_refused(source: PypiSource, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="precision is 'q8_0', the file's is 'q4_1'"):
        build_engine(recipe_of(source, precision="q8_0"), tmp_path / "engines", cache=tmp_path)
    recipe = recipe_of(source)
    limits = {**recipe.limits.model_dump(), "max_output_tokens": 128, "max_seq_tokens": 192}
    with pytest.raises(RecipeError, match="max_seq_tokens 192 is beyond the model's context of 128"):
        build_engine(recipe_of(source, limits=RecipeLimits(**limits)), tmp_path / "engines", cache=tmp_path)
    assert list((tmp_path / "engines").iterdir()) == []


def test_what_openvino_refuses_is_one_line(tmp_path: Path, index: Path) -> None:
    pytest.importorskip("openvino_genai")
    wheel = write_wheel(index, write_gguf(tmp_path / "tiny.gguf", architecture="mamba"))
    with pytest.raises(RecipeError, match=r"OpenVINO cannot convert this model: .+") as caught:
        build_engine(recipe_of(source_of(wheel)), tmp_path / "engines", cache=tmp_path)
    assert "\n" not in caught.value.message
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_disk_too_small_is_told_before_anything_begins(source: PypiSource, tmp_path: Path) -> None:
    huge = recipe_of(source.model_copy(update={"size_bytes": 10**17}))
    with pytest.raises(HostError, match=r"not enough disk at .*: 300,000,000,000 MB are needed"):
        build_engine(huge, tmp_path / "engines", Silent())
    assert not (tmp_path / "engines").exists()


def test_a_folder_that_cannot_be_written_is_one_line(source: PypiSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(HostError, match="the build cannot go on: File exists"):
        build_engine(recipe_of(source), tmp_path / "file", cache=tmp_path)


@pytest.mark.parametrize("arguments", [["smollm2-135"], ["absent.toml"]])
def test_the_shell_says_it_in_one_line_and_exits_with_2(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from trident.cli import main; main()", "build", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("trident: ")
    assert ended.stderr.count("\n") == 1
