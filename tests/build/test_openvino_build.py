"""OpenVINO engines from a Hugging Face checkpoint: what the recipe asks for is what lies in the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe, write_adapter, write_checkpoint
from trident.engines.base import Engine
from trident.engines.load import load_engine
from trident.errors import HostError, RecipeError
from trident.manifest import read_manifest, verify_files
from trident_build import build_checkpoint, build_engine
from trident_build.directory import BUILDING
from trident_build.hf_checkpoint import read_checkpoint
from trident_build.recipe import Calibration, Lora, Quality, Quantization


def sizes(engine: Path) -> int:
    return (engine / "openvino_model.bin").stat().st_size


def test_int8_and_int4_are_smaller_and_say_what_they_are(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    built = {}
    for precision in ("f16", "int8", "int4"):
        directory = build_engine(folder_recipe(checkpoint, precision=precision), tmp_path, cache=cache)
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
        built[precision] = (sizes(directory), manifest.quantization)
        assert (manifest.precision, manifest.tokens.eos_ids) == (precision, (2, 0))
        for name in ("tokenizer.json", "chat_template.jinja"):
            assert (directory / "tokenizer" / name).read_bytes() == (checkpoint / name).read_bytes()
    assert built["f16"][0] > 1.5 * built["int8"][0] > 1.5 * built["int4"][0]
    assert built["f16"][1] is None
    assert (built["int8"][1].algorithm, built["int8"][1].group_size) == ("int8_asym", None)
    assert (built["int4"][1].algorithm, built["int4"][1].group_size) == ("int4_asym", 64)


def test_awq_and_scale_estimation_are_calibrated_on_the_text(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("hello hello12 and 34. " * 500)
    calibration = Calibration(text=tmp_path / "text.txt", num_samples=4, sample_tokens=32)
    asked = Quantization(awq=True, scale_estimation=True, kv_cache="f16")
    recipe = folder_recipe(checkpoint, precision="int4", quantization=asked, calibration=calibration)
    manifest = read_manifest(build_engine(recipe, tmp_path / "engines", cache=cache))
    assert manifest.quantization is not None
    assert manifest.quantization.algorithm == "int4_asym+awq+scale_estimation"
    assert manifest.quantization.calibration_samples == 4
    assert (manifest.kv_cache_precision, manifest.options["KV_CACHE_PRECISION"]) == ("f16", "f16")


def test_adapters_are_in_the_engine_and_load(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    lora = Lora(adapters={"style": write_adapter(tmp_path / "adapter")}, max_loras=2)
    directory = build_engine(folder_recipe(checkpoint, lora=lora), tmp_path / "engines", cache=cache)
    manifest = read_manifest(directory)
    assert (manifest.loras, manifest.max_loras) == ({"style": "loras/style"}, 2)
    assert "loras/style/adapter_model.safetensors" in manifest.files
    engine: Engine = load_engine(directory, manifest)  # compares the adapter's layers with the model's
    engine.close()


def test_a_bound_that_is_not_kept_fails_the_build_and_says_by_how_much(
    checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = folder_recipe(checkpoint, quality=Quality(max_perplexity=1.5, text_tokens=512))
    with pytest.raises(Exception, match=r"perplexity is .* above the recipe's max_perplexity 1.5"):
        build_engine(recipe, tmp_path, cache=cache)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_architecture_is_one_line_and_nothing_is_installed(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "tiny", model_type="martian", architectures=["MartianForCausalLM"])
    with pytest.raises(RecipeError, match=r"optimum-intel cannot export this model: .*martian") as caught:
        build_engine(folder_recipe(source), tmp_path / "engines", cache=tmp_path / "cache")
    assert "\n" not in caught.value.message
    assert list((tmp_path / "engines").iterdir()) == []


def test_a_disk_that_fills_up_is_one_line_and_nothing_is_installed(
    checkpoint: Path, small_disk: Path, tmp_path: Path
) -> None:
    with pytest.raises(HostError, match=r"no space is left on the disk|not enough disk|No space left"):
        build_engine(folder_recipe(checkpoint), small_disk / "engines", cache=small_disk / "cache")
    assert not list((small_disk / "engines").glob("tiny*"))
    assert not [path for path in (small_disk / "engines").glob("*") if not path.name.startswith(BUILDING)]


def test_the_checkpoint_of_a_recipe_can_be_had_by_itself(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    folder = build_checkpoint(folder_recipe(checkpoint), tmp_path / "out", cache=cache)
    assert read_checkpoint(folder) == read_checkpoint(checkpoint)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
    with pytest.raises(RecipeError, match="is there already; name a new folder"):
        build_checkpoint(folder_recipe(checkpoint), folder, cache=cache)
