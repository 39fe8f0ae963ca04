"""NVIDIA ModelOpt for real, on a small random llama: every precision, both layouts, read back and compared."""

import json
from pathlib import Path

import pytest

from tests.unit.build.tiny_checkpoint import write_checkpoint
from tests.unit.build.trtllm_checkpoints import VOCAB, write_source
from trident.errors import HostError, RecipeError
from trident.manifest import Parallelism
from trident_build import child
from trident_build.checkpoint_report import CheckpointReport
from trident_build.checkpoint_verify import verify_checkpoint
from trident_build.modelopt_process import export_checkpoint
from trident_build.recipe import Calibration, Quantization

pytest.importorskip("modelopt", reason="needs the extra 'build'")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with tied embeddings, a vocabulary that is no multiple of anything, and an unusual rotary base."""
    folder = tmp_path_factory.mktemp("modelopt") / "source"
    write_source(folder)
    other = write_checkpoint(folder.parent / "tokenizer")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((other / name).read_bytes())
    (folder.parent / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 100, encoding="utf-8")
    return folder


def export(
    source: Path, output: Path, precision: str, layout: str, *, tp: int = 1, pp: int = 1, kv_cache: str | None = None
) -> CheckpointReport:
    """Export, and compare."""
    quantization, parallelism = Quantization(kv_cache=kv_cache), Parallelism(tp=tp, pp=pp)
    calibration = Calibration(text=source.parent / "text.txt", num_samples=4, sample_tokens=32, batch_size=2)
    parts = {"precision": precision, "quantization": quantization, "parallelism": parallelism, "layout": layout}
    export_checkpoint(source, output, calibration=calibration, **parts)
    return verify_checkpoint(source, output, **parts)


@pytest.mark.parametrize(
    ("precision", "layout", "cut"),
    [
        ("fp8", "tensorrt_llm", {"kv_cache": "fp8"}),
        ("fp8", "tensorrt_llm", {"tp": 4, "kv_cache": "int8"}),  # more GPUs than key-value heads
        ("int4_awq", "tensorrt_llm", {"tp": 2, "pp": 2}),
        ("w4a8_awq", "tensorrt_llm", {"kv_cache": "fp8"}),
        ("int8_sq", "tensorrt_llm", {"tp": 2}),
        ("nvfp4", "tensorrt_llm", {"tp": 2, "kv_cache": "fp8"}),
        ("int8_wo", "tensorrt_llm", {"pp": 2}),
        ("int4_wo", "tensorrt_llm", {}),
        ("f16", "tensorrt_llm", {"tp": 2}),
        ("fp8", "hf", {"kv_cache": "fp8"}),
        ("int4_awq", "hf", {}),
        ("nvfp4", "hf", {}),
        ("int8_wo", "hf", {}),
    ],
)
def test_an_exported_checkpoint_is_the_model_it_was_made_of(source, tmp_path, precision, layout, cut):
    """Every tensor within its bound, and nothing in config.json against the source."""
    report = export(source, tmp_path / "out", precision, layout, **cut)
    assert report.failures() == []
    assert len(report.tensors) == 21
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_the_config_is_mended_where_modelopt_leaves_it_wrong(source, tmp_path):
    """The rotary base of transformers 5, the logits' type, and a vocabulary that it pads for AWQ."""
    export(source, tmp_path / "out", "int4_awq", "tensorrt_llm")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["rotary_base"] == 77777.0
    assert config["logits_dtype"] == "float32"
    assert config["vocab_size"] == VOCAB


def test_a_unified_checkpoint_says_its_rotary_base_as_transformers_4_reads_it(source, tmp_path):
    """TensorRT-LLM 1.2 runs on it, and would take 10000 without a word."""
    export(source, tmp_path / "out", "fp8", "hf")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == 77777.0


def test_a_source_that_cannot_be_cut_is_refused_before_anything_is_loaded(source, tmp_path):
    """No folder is left either."""
    with pytest.raises(RecipeError, match=r"parallelism\.tp 3 does not divide 4 attention heads"):
        export(source, tmp_path / "out", "fp8", "tensorrt_llm", tp=3)
    assert not (tmp_path / "out").exists()


def test_a_failure_of_modelopt_is_one_line(source, tmp_path):
    """Here, weights that are not those of config.json."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in source.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (tmp_path / "text.txt").write_bytes((source.parent / "text.txt").read_bytes())
    with pytest.raises((RecipeError, HostError)) as failure:
        export(broken, tmp_path / "out", "fp8", "tensorrt_llm").require()
    assert "\n" not in failure.value.message


def test_a_killed_export_is_told_by_its_signal(source, tmp_path, monkeypatch):
    """Most often it is the kernel, for want of memory; here the child process kills itself."""
    monkeypatch.setattr(child.sys, "executable", str(_suicide(tmp_path)))
    with pytest.raises(HostError, match="was killed by SIGKILL; is there enough memory"):
        export(source, tmp_path / "out", "int8_wo", "tensorrt_llm")


def _suicide(folder: Path) -> Path:
    script = folder / "python"
    script.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    script.chmod(0o755)
    return script
