"""An engine that is a checkpoint as it is (kind tensorrt_llm_pytorch, 16 bits) goes through the whole build."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.unit.build.tiny_checkpoint import folder_recipe, write_adapter, write_checkpoint
from trident.errors import HostError, RecipeError
from trident.manifest import EngineKind, Parallelism, read_manifest, verify_files
from trident_build import ConsoleProgress, Recipe, build_checkpoint, build_engine, build_steps, plan, plan_engine
from trident_build.recipe import Lora, Quality, Quantization, RecipeLimits


def recipe_for(checkpoint: Path, **changes: Any) -> Recipe:
    recipe = folder_recipe(checkpoint, kind=EngineKind.TENSORRT_LLM_PYTORCH, precision="bf16", **changes)
    limits = {**recipe.limits.model_dump(), "kv_cache_tokens": None, "kv_cache_fraction": 0.8}
    return recipe.model_copy(update={"limits": RecipeLimits(**limits)})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny")


def test_the_engine_holds_the_checkpoint_and_says_how_it_runs(checkpoint: Path, tmp_path: Path) -> None:
    lora = Lora(adapters={"style": write_adapter(tmp_path / "adapter")}, max_loras=2)
    recipe = recipe_for(checkpoint, parallelism=Parallelism(tp=2), lora=lora)
    directory = build_engine(recipe, tmp_path / "engines", cache=tmp_path / "cache")
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    assert set(manifest.files) == {
        "config.json", "generation_config.json", "model.safetensors", "recipe.json",
        "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "tokenizer/chat_template.jinja",
        "loras/style/adapter_config.json", "loras/style/adapter_model.safetensors",
    }  # fmt: skip
    assert (manifest.parallelism.tp, manifest.kv_cache_fraction, manifest.max_loras) == (2, 0.8, 2)
    assert manifest.limits.kv_cache_tokens == recipe.limits.max_seq_tokens
    assert manifest.source.locator == "folder:tiny"
    for file in ("manifest.json", "recipe.json"):
        assert str(tmp_path) not in (directory / file).read_text()  # nobody's paths
    said = json.dumps(json.loads((directory / "recipe.json").read_text()), sort_keys=True)
    assert hashlib.sha256(said.encode()).hexdigest() == manifest.recipe_sha256 == recipe.sha256


def test_what_its_owner_writes_again_is_copied_into_the_engine(checkpoint: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    recipe = recipe_for(checkpoint, lora=Lora(adapters={"style": adapter}))
    directory = build_engine(recipe, tmp_path / "engines", cache=tmp_path / "cache")
    for path in (checkpoint / "model.safetensors", checkpoint / "config.json", adapter / "adapter_model.safetensors"):
        path.write_bytes(b"other")  # in place, as save_pretrained does
    verify_files(directory, read_manifest(directory))


def test_the_version_follows_the_bytes_of_the_source_and_not_its_place(checkpoint: Path, tmp_path: Path) -> None:
    first = plan_engine(recipe_for(checkpoint), tmp_path, tmp_path).version
    moved = checkpoint.rename(tmp_path / "moved")
    assert plan_engine(recipe_for(moved), tmp_path, tmp_path).version == first
    with (moved / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x01\x02\x03\x04")
    assert plan_engine(recipe_for(moved), tmp_path, tmp_path).version != first


def test_every_stage_is_in_the_log_and_a_failure_too(checkpoint: Path, tmp_path: Path) -> None:
    shown = io.StringIO()
    progress = ConsoleProgress(Console(file=shown, soft_wrap=True))
    build_engine(recipe_for(checkpoint), tmp_path / "engines", progress, cache=tmp_path)
    log = (tmp_path / "logs" / "tiny.log").read_text()
    for stage in ("fetch", "inspect", "verify", "manifest", "install"):
        assert f" {stage}: begins" in log
        assert f"  {stage:<10} " in shown.getvalue()
    (checkpoint / "model.safetensors").write_bytes(b"short")
    with pytest.raises(RecipeError):
        build_engine(recipe_for(checkpoint), tmp_path / "engines", cache=tmp_path)
    assert "inspect: RecipeError: tiny/model.safetensors is no intact" in (tmp_path / "logs" / "tiny.log").read_text()


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_checkpoint_that_is_not_whole_leaves_nothing_installed(
    missing: str, checkpoint: Path, tmp_path: Path
) -> None:
    (checkpoint / missing).unlink()
    with pytest.raises(RecipeError, match=r"missing|no tokenizer.json|holds no") as caught:
        build_engine(recipe_for(checkpoint), tmp_path / "engines", cache=tmp_path / "cache")
    assert "\n" not in caught.value.message
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_source_that_is_not_there_is_said_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no .*absent, which the recipe points at"):
        build_engine(recipe_for(tmp_path / "absent"), tmp_path / "engines", cache=tmp_path)
    assert not (tmp_path / "engines").exists()


def test_bounds_that_cannot_be_measured_are_refused_before_anything_begins(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"\[quality\] is measured on engines of kind 'openvino' only"):
        build_engine(recipe_for(checkpoint, quality=Quality(max_perplexity=9.0)), tmp_path / "engines", cache=tmp_path)
    dry = plan_engine(recipe_for(checkpoint, quality=Quality(max_perplexity=9.0)), tmp_path, tmp_path, is_dry=True)
    with pytest.raises(RecipeError, match=r"\[quality\] is measured on engines of kind 'openvino' only"):
        build_steps(dry)
    assert not (tmp_path / "engines").exists()


def test_a_missing_extra_is_one_line_and_a_dry_run_goes_on(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(tool: str) -> str:
        if tool in {"torch", "nvidia-modelopt"}:
            raise plan.PackageNotFoundError(tool)
        return "1.0"

    monkeypatch.setattr(plan, "version", version)
    recipe = folder_recipe(checkpoint, kind=EngineKind.TENSORRT_LLM, precision="fp8", parallelism=Parallelism(tp=2))
    with pytest.raises(HostError, match=r"torch is not installed; pip install 'trident-llm\[cpu,build\]'"):
        plan_engine(recipe, tmp_path, tmp_path)
    steps = dict(build_steps(plan_engine(recipe, tmp_path, tmp_path, is_dry=True)))
    assert steps["missing"] == "torch, nvidia-modelopt: pip install 'trident-llm[cpu,build]'"
    assert list(steps) == ["missing", "fetch", "inspect", "quantize", "compile", "verify", "manifest", "install"]
    assert "-m trident_build.modelopt export <<< " in steps["quantize"]
    assert '"precision": "fp8", "group_size": null, "kv_cache": null' in steps["quantize"]
    assert "$ trtllm-build --checkpoint_dir " in steps["compile"]
    assert "--workers 2" in steps["compile"]


def test_a_group_that_does_not_divide_is_refused_before_the_weights_are_touched(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "version", lambda _: "1.0")
    recipe = folder_recipe(checkpoint, precision="int4", quantization=Quantization(group_size=128))
    with pytest.raises(RecipeError, match=r"group_size 128 does not divide .*_proj.weight, which is 64 wide; use 64"):
        build_engine(recipe, tmp_path / "engines", cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "stages").exists()


def test_a_folder_that_is_there_is_never_written_over(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is there already; name a new folder"):
        build_checkpoint(recipe_for(checkpoint), checkpoint, cache=tmp_path)
    copy = build_checkpoint(recipe_for(checkpoint), tmp_path / "copy", cache=tmp_path)
    assert (copy / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
