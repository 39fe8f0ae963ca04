"""Running trtllm-build, here a named fake of it, and reading its engine back."""

import json

import pytest

from trident.engines.preflight import IMAGE_VARIABLE, Gpu
from trident.errors import EngineError, HostError, RecipeError
from trident.manifest import EngineKind
from trident_build import plan, trtllm_engine
from trident_build.progress import Silent
from trident_build.trtllm_engine import compile_engine, verify_compiled
from trident_build.trtllm_versions import is_available

from . import fake_trtllm_build
from .tensorrt_recipes import recipe
from .tiny_checkpoint import folder_recipe, write_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """As much of a checkpoint as the fake reads: FP8 on two GPUs."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = {
        "mapping": {"world_size": 2, "tp_size": 2, "pp_size": 1},
        "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts the fake of some version on the PATH."""

    def put(version="1.2.1"):
        folder = tmp_path / "bin"
        folder.mkdir()
        fake_trtllm_build.install(folder, version)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return put


def test_an_engine_is_built_and_is_what_the_recipe_says(install, checkpoint, tmp_path):
    """The command runs, its output is in the log, and every key of config.json agrees."""
    install()
    log = tmp_path / "build.log"
    asked = recipe(lora={"adapters": {"a": "adapter"}}, trtllm_build={"strip_plan": True, "weight_sparsity": False})
    compile_engine(asked, checkpoint, tmp_path / "engine", stage=Silent(), log=log)
    assert verify_compiled(asked, tmp_path / "engine").version == "1.2.1"
    assert "$ trtllm-build --checkpoint_dir" in log.read_text(encoding="utf-8")
    assert "version: fake" in log.read_text(encoding="utf-8")


def test_a_failure_is_told_by_its_own_error_line(install, checkpoint, tmp_path, monkeypatch):
    """Not by the last line of hundreds, and not as a traceback."""
    install()
    monkeypatch.setenv("FAKE_TRTLLM", "fail")
    with pytest.raises(RecipeError, match=r"failed with status 3: .*too little workspace"):
        compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())


def test_a_kill_is_told_by_its_signal(install, checkpoint, tmp_path, monkeypatch):
    """Most often it is the kernel, for want of memory."""
    install()
    monkeypatch.setenv("FAKE_TRTLLM", "kill")
    with pytest.raises(HostError, match="killed by SIGKILL; is there enough memory"):
        compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())


def test_an_engine_of_other_limits_is_refused(install, checkpoint, tmp_path, monkeypatch):
    """What trtllm-build changed by itself is found out before the engine serves."""
    install()
    monkeypatch.setenv("FAKE_TRTLLM", "other")
    compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())
    with pytest.raises(EngineError, match="max_seq_len is 99, asked for 1536"):
        verify_compiled(recipe(), tmp_path / "engine")


def test_an_engine_of_another_precision_is_refused(install, checkpoint, tmp_path):
    """The checkpoint was of FP8; the recipe by now says something else."""
    install()
    compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())
    other = recipe(precision="w4a8_awq", parallelism={"tp": 1})
    with pytest.raises(EngineError, match=r"and 2 more|quant_algo|workers|tp_size"):
        verify_compiled(other, tmp_path / "engine")


def test_a_missing_rank_is_refused(install, checkpoint, tmp_path):
    """Two GPUs need two engines."""
    install()
    compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())
    (tmp_path / "engine" / "rank1.engine").unlink()
    with pytest.raises(EngineError, match=r"rank1\.engine is missing or empty"):
        verify_compiled(recipe(), tmp_path / "engine")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"build_config": 3}'])
def test_a_broken_config_is_refused_in_one_line(tmp_path, content):
    """Whatever it holds."""
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(EngineError, match=r"config\.json"):
        verify_compiled(recipe(), tmp_path)


@pytest.mark.parametrize("version", ["1.3.0rc22", "1.4.0rc1", "2.0"])
def test_a_tensorrt_llm_without_engines_is_refused(install, checkpoint, tmp_path, version):
    """From 1.3 on there is no trtllm-build; the line names the image that has one."""
    install(version)
    with pytest.raises(HostError, match=f"TensorRT-LLM {version} no longer builds engines.*26.07-trtllm"):
        compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())


def test_a_machine_without_it_says_so(checkpoint, tmp_path, monkeypatch):
    """Nothing runs, and the line names the image."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_available()
    with pytest.raises(HostError, match=r"trtllm-build is not on the PATH; use nvcr\.io"):
        compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())


def test_an_engine_is_of_one_compiler_and_one_kind_of_gpu(install, tmp_path, monkeypatch):
    """Another TensorRT-LLM or GPU is another version, and never finds what the first one compiled."""
    asked = folder_recipe(write_checkpoint(tmp_path / "tiny"), kind=EngineKind.TENSORRT_LLM, precision="fp8")

    def planned(capability):
        monkeypatch.setattr(plan, "find_gpus", lambda: [Gpu("a GPU", capability, 1)])
        return plan.plan_engine(asked, tmp_path, tmp_path, is_dry=True)

    without = planned("9.0")
    install()
    hopper, ada = planned("9.0"), planned("8.9")
    assert hopper.tools["tensorrt_llm"] == "1.2.1"
    assert len({one.version for one in (without, hopper, ada)}) == 3
    assert len({one.stages.path("compile", one.compile_inputs()) for one in (without, hopper, ada)}) == 3
    assert len({one.stages.path("quantize", one.quantize_inputs()) for one in (without, hopper, ada)}) == 1


@pytest.mark.parametrize("has_compiler", [True, False])
def test_a_tensorrt_llm_without_engines_is_refused_before_anything_is_built(
    install, tmp_path, monkeypatch, has_compiler
):
    """Its images have no trtllm-build at all."""
    asked = folder_recipe(write_checkpoint(tmp_path / "tiny"), kind=EngineKind.TENSORRT_LLM, precision="fp8")
    install("1.3.0")
    if not has_compiler:
        (tmp_path / "bin" / "trtllm-build").unlink()
        monkeypatch.syspath_prepend(tmp_path / "bin")
    with pytest.raises(HostError, match=r"TensorRT-LLM 1.3.0 no longer builds engines"):
        plan.plan_engine(asked, tmp_path, tmp_path, is_dry=True)


def test_where_it_was_compiled_is_recorded(install, checkpoint, tmp_path, monkeypatch):
    """By whoever compiled it; a machine that reads it later may be another one."""
    install()
    monkeypatch.setenv(IMAGE_VARIABLE, "sha256:" + "a" * 64)
    monkeypatch.setattr(trtllm_engine, "find_gpus", lambda: [Gpu("NVIDIA L4", "8.9", 1)] * 2)
    compile_engine(recipe(), checkpoint, tmp_path / "engine", stage=Silent())
    monkeypatch.setattr(trtllm_engine, "find_gpus", lambda: [Gpu("NVIDIA H100", "9.0", 1)])
    found = verify_compiled(recipe(), tmp_path / "engine")
    assert (found.gpu_architecture, found.image_digest) == ("sm89", "sha256:" + "a" * 64)
    (tmp_path / "engine" / "compiled_on.txt").unlink()
    assert verify_compiled(recipe(), tmp_path / "engine").gpu_architecture is None
