"""What stops before trtllm-build says how to go on, and is finished elsewhere, whole or not at all.

The double of trtllm-build writes what the real one does: config.json from its flags, and a file for each rank.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe, write_checkpoint
from trident.errors import EngineError, HostError, ManifestError, RecipeError
from trident.manifest import EngineKind, Parallelism, QuantizationFacts, find_engine, read_manifest, verify_files
from trident_build import resume_engine
from trident_build.building import Building
from trident_build.hf_checkpoint import read_checkpoint, write_tokenizer_files
from trident_build.origin import fetch
from trident_build.plan import Plan
from trident_build.progress import Silent
from trident_build.recipe import Recipe
from trident_build.trtllm_versions import IMAGE
from trident_build.unfinished import CHECKPOINT, ENGINE, leave_unfinished

TRTLLM_BUILD = """#!{python}
import json, sys
from pathlib import Path
if len(sys.argv) > 1 and sys.argv[1] == "-c":
    print("1.2.1")
    sys.exit()
flags = dict(zip((flag.removeprefix("--") for flag in sys.argv[1::2]), sys.argv[2::2]))
output, checkpoint = Path(flags.pop("output_dir")), Path(flags.pop("checkpoint_dir"))
words = {{"enable": True, "disable": False, "paged": "PAGED", "auto": "float16"}}
build = {{name: words.get(value, int(value) if value.isdigit() else value) for name, value in flags.items()}}
output.mkdir(exist_ok=True)
pretrained = json.loads((checkpoint / "config.json").read_text())
if "{lie}":
    build["max_batch_size"] = 1
config = {{"version": "1.2.1", "pretrained_config": pretrained, "build_config": {{**build, "plugin_config": build}}}}
(output / "config.json").write_text(json.dumps(config))
for rank in range(pretrained["mapping"]["world_size"]):
    (output / f"rank{{rank}}.engine").write_bytes(b"engine")
"""


def tensorrt_recipe(source: Path) -> Recipe:
    return folder_recipe(source, kind=EngineKind.TENSORRT_LLM, precision="fp8", parallelism=Parallelism(tp=2))


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return tmp_path / "engines"


@pytest.fixture
def left(tmp_path: Path, engines: Path) -> tuple[Path, HostError]:
    """The folder that a build left, and its last words."""
    source = write_checkpoint(tmp_path / "tiny")
    recipe = tensorrt_recipe(source)
    quantized = tmp_path / "quantized"
    quantized.mkdir()
    config = {
        "architecture": "LlamaForCausalLM",
        "dtype": "float16",
        "mapping": {"world_size": 2, "tp_size": 2, "pp_size": 1},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": None},
    }
    (quantized / "config.json").write_text(json.dumps(config))
    for rank in range(2):
        (quantized / f"rank{rank}.safetensors").write_bytes(b"weights")
    origin = fetch(recipe, tmp_path / "cache", tmp_path, Silent(), tmp_path / "log")
    plan = Plan(recipe, engines, tmp_path / "cache", {"trident": "0"}, {}, origin.identity)
    engine = engines / "engine"
    engine.mkdir(parents=True)
    facts = read_checkpoint(source)
    write_tokenizer_files(source, engine, facts.tokens)
    building = Building(plan, origin, facts, None, engine, Silent())
    said = leave_unfinished(building, quantized, QuantizationFacts(algorithm="FP8"))
    return engines / f".unfinished-tiny-{plan.version}", said


def provide_trtllm_build(folder: Path, monkeypatch: pytest.MonkeyPatch, *, lie: str = "") -> Path:
    folder.mkdir()
    path = folder / "trtllm-build"
    interpreter = folder / "python"  # answers for tensorrt_llm's version, which is not installed here
    interpreter.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo 1.2.1 && exit\nexec {sys.executable} "$@"\n')
    path.write_text(TRTLLM_BUILD.format(python=interpreter, lie=lie))
    for file in (path, interpreter):
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return path


def test_the_last_words_are_the_commands_to_go_on_with(left: tuple[Path, HostError], engines: Path) -> None:
    folder, said = left
    assert f"cd {folder} && mkdir -p engine && nvidia-smi " in said.message
    assert ": trtllm-build --checkpoint_dir checkpoint --output_dir engine " in said.message
    assert f"docker run --rm --gpus all -v {folder}:/build " in said.message
    assert said.message.endswith(f"trident build --resume {folder}")
    assert [path.name for path in engines.iterdir()] == [folder.name]
    assert sorted(path.name for path in (folder / CHECKPOINT).iterdir()) == [
        "config.json", "rank0.safetensors", "rank1.safetensors",
    ]  # fmt: skip


def test_it_is_finished_where_trtllm_build_is(
    left: tuple[Path, HostError], engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = left
    with pytest.raises(HostError, match="trtllm-build is not on this machine"):
        resume_engine(folder, engines)
    provide_trtllm_build(tmp_path / "bin", monkeypatch)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, tmp_path / "carried")
    directory = resume_engine(tmp_path / "carried", elsewhere)
    assert find_engine(elsewhere, "tiny") == directory
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    assert (manifest.kind, manifest.precision, manifest.parallelism) == (
        EngineKind.TENSORRT_LLM, "fp8", Parallelism(tp=2),
    )  # fmt: skip
    assert manifest.tools["tensorrt_llm"] == "1.2.1"
    assert manifest.quantization == QuantizationFacts(algorithm="FP8")
    assert {"rank0.engine", "rank1.engine", "config.json", "tokenizer/tokenizer.json"} <= set(manifest.files)
    assert not any(name.startswith(CHECKPOINT) for name in manifest.files)
    assert str(tmp_path) not in (directory / "recipe.json").read_text()


def test_an_engine_made_by_hand_is_taken_and_the_folder_goes(
    left: tuple[Path, HostError], engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said = left
    provide_trtllm_build(tmp_path / "bin", monkeypatch)
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 8.9\necho 8.9\n")
    smi.chmod(0o755)
    record, compiler = (said.message.split(before)[1].split(";")[0] for before in ("serve: ", f"{IMAGE}: "))
    os.system(f"{record} && {compiler}")  # noqa: S605 - the very lines that it prints
    monkeypatch.setenv("PATH", "/nowhere")
    directory = resume_engine(folder, engines)
    assert directory.parent == engines / "tiny"
    assert not folder.exists()
    assert read_manifest(directory).gpu_architecture == "sm89"  # of the machine that compiled, not of this one


def test_an_engine_that_is_not_what_the_recipe_says_is_not_installed(
    left: tuple[Path, HostError], engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = left
    provide_trtllm_build(tmp_path / "bin", monkeypatch, lie="yes")
    with pytest.raises(EngineError, match="max_batch_size is 1, asked for 2"):
        resume_engine(folder, engines)
    assert [path.name for path in engines.iterdir()] == [folder.name]
    assert (folder / ENGINE / "rank0.engine").is_file()


def test_a_damaged_or_foreign_folder_is_refused(left: tuple[Path, HostError], engines: Path) -> None:
    folder, _ = left
    (folder / CHECKPOINT / "rank1.safetensors").write_bytes(b"other")
    with pytest.raises(ManifestError, match=r"checkpoint/rank1.safetensors is damaged"):
        resume_engine(folder, engines)
    (folder / "recipe.json").unlink()
    with pytest.raises(RecipeError, match="was not left by an unfinished build"):
        resume_engine(folder, engines)
    with pytest.raises(ManifestError, match="no engine at"):
        resume_engine(engines, engines)
