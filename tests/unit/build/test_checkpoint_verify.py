"""The comparison of a TensorRT-LLM checkpoint with its source: passes what is right, and finds what is not."""

import json
from pathlib import Path

import numpy as np
import pytest

from trident.errors import EngineError
from trident.manifest import Parallelism
from trident_build.checkpoint_formats import FORMATS
from trident_build.checkpoint_read import TrtllmCheckpoint
from trident_build.checkpoint_report import CheckpointReport
from trident_build.checkpoint_verify import verify_checkpoint
from trident_build.recipe import Quantization

from .trtllm_checkpoints import VOCAB, write_safetensors, write_source, write_trtllm

ERRORS = {"fp8": 0.027, "int4_awq": 0.1, "nvfp4": 0.095, "int8_sq": 0.0072}  # what such rounding costs normal values


def verify(folder: Path, precision: str, tp: int = 1, pp: int = 1) -> CheckpointReport:
    return verify_checkpoint(
        folder / "source",
        folder / "out",
        precision=precision,
        quantization=Quantization(group_size=64 if precision == "int4_awq" else None),
        parallelism=Parallelism(tp=tp, pp=pp),
        layout="tensorrt_llm",
    )


def export(folder: Path, precision: str, tp: int = 1, pp: int = 1, **changes) -> None:
    source = write_source(folder / "source")
    write_trtllm(folder / "out", source, precision, str(FORMATS[precision].algorithm), tp, pp, **changes)


@pytest.mark.parametrize("precision", ERRORS)
@pytest.mark.parametrize(("tp", "pp"), [(1, 1), (2, 1), (2, 2), (4, 1)])
def test_a_sound_checkpoint_is_as_far_from_its_source_as_its_precision_rounds(tmp_path, precision, tp, pp):
    """However it is cut; with tp 4 each of the two key-value heads is on two ranks."""
    if precision == "int8_sq" and tp == 4:
        pytest.skip("heads are not repeated in this format")
    export(tmp_path, precision, tp, pp)
    report = verify(tmp_path, precision, tp, pp)
    assert report.failures() == []
    errors = [one.bounded_error for one in report.tensors if "_proj" in one.name]
    assert len(errors) == 14
    assert np.mean(errors) == pytest.approx(ERRORS[precision], rel=0.15)


def test_a_tied_head_and_a_padded_vocabulary_are_compared_too(tmp_path):
    """The head is a tensor of the engine even where the source has none, and 333 rows on two ranks are padded."""
    export(tmp_path, "fp8", tp=2)
    names = {one.name: one for one in verify(tmp_path, "fp8", tp=2).tensors}
    assert names["lm_head.weight"].relative_error == 0
    assert TrtllmCheckpoint(tmp_path / "out").weight("lm_head.weight").shape[0] == VOCAB


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rotary_base": 10000.0}, "config.json rotary_base is 10000.0, must be 77777.0"),
        ({"vocab_size": 332}, "config.json vocab_size is 332, must be 333"),
        ({"logits_dtype": "float16"}, 'config.json logits_dtype is "float16", must be "float32"'),
        (
            {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}},
            'config.json quantization.kv_cache_quant_algo is "FP8", must be null',
        ),
        ({"quantization": {"quant_algo": "NVFP4"}}, 'config.json quantization.quant_algo is "NVFP4", must be "FP8"'),
        ({"num_key_value_heads": 4}, "config.json num_key_value_heads is 4, must be 2"),
    ],
)
def test_a_config_that_contradicts_the_source_is_found(tmp_path, changes, line):
    """TensorRT-LLM would build such an engine without a word, and it would write nonsense."""
    export(tmp_path, "fp8", **changes)
    if "num_key_value_heads" in changes or "vocab_size" in changes:  # tensors of other shapes: found even before
        with pytest.raises(EngineError):
            verify(tmp_path, "fp8").require()
        return
    assert line in verify(tmp_path, "fp8").failures()


def _damage(folder: Path, tensor: str, change) -> None:
    path = folder / "out" / "rank0.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    start, stop = (8 + length + offset for offset in header[tensor]["data_offsets"])
    path.write_bytes(raw[:start] + change(raw[start:stop]) + raw[stop:])


@pytest.mark.parametrize(
    ("precision", "tensor", "change"),
    [
        ("fp8", "attention.qkv.weight", lambda data: data[256:] + data[:256]),  # one row too far
        ("int4_awq", "mlp.fc.weight", lambda data: bytes(byte >> 4 | byte << 4 & 255 for byte in data)),  # nibbles
        ("nvfp4", "mlp.proj.weights_scaling_factor", lambda data: data[1:] + data[:1]),  # a scale for the next block
        ("int8_sq", "attention.dense.prequant_scaling_factor", lambda data: data[2:] + data[:2]),
        ("fp8", "input_layernorm.weight", lambda data: data[2:] + data[:2]),
    ],
)
def test_bytes_in_the_wrong_place_are_found(tmp_path, precision, tensor, change):
    """Rows, nibbles, scales and smoothing: each alone makes an error beyond the bound."""
    export(tmp_path, precision)
    _damage(tmp_path, f"transformer.layers.0.{tensor}", change)
    with pytest.raises(EngineError, match=rf"the {precision} checkpoint is wrong: model\.layers\.0\..* away from"):
        verify(tmp_path, precision).require()


def test_a_scale_that_is_not_positive_is_found(tmp_path):
    """An engine would divide by it."""
    export(tmp_path, "fp8")
    _damage(tmp_path, "transformer.layers.1.mlp.proj.activation_scaling_factor", lambda _: b"\0\0\0\0")
    lines = verify(tmp_path, "fp8").failures()
    assert "model.layers.1.mlp.down_proj.weight: input_scale is not positive everywhere" in lines


def test_a_checkpoint_of_another_algorithm_is_found_by_its_tensors(tmp_path):
    """Its config may say what it likes."""
    source = write_source(tmp_path / "source")
    write_trtllm(tmp_path / "out", source, "nvfp4", "FP8", 1, 1)
    with pytest.raises(EngineError, match=r"has the scales|group_size"):
        verify(tmp_path, "fp8").require()


def test_norms_that_differ_between_ranks_are_found(tmp_path):
    """Every rank computes them by itself."""
    export(tmp_path, "fp8", tp=2)
    _damage(tmp_path, "transformer.layers.0.input_layernorm.weight", lambda data: data[2:] + data[:2])
    with pytest.raises(EngineError, match=r"input_layernorm\.weight is not the same on every rank"):
        verify(tmp_path, "fp8", tp=2)


@pytest.mark.parametrize("change", ["missing", "truncated", "one too many"])
def test_ranks_that_are_not_whole_are_refused(tmp_path, change):
    """Before anything is compared."""
    export(tmp_path, "fp8", tp=2)
    path = tmp_path / "out" / "rank1.safetensors"
    if change == "missing":
        path.unlink()
    elif change == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        write_safetensors(path.with_name("rank2.safetensors"), {})
    with pytest.raises(EngineError, match=r"rank1|rank2"):
        verify(tmp_path, "fp8", tp=2)


def test_the_report_has_a_line_for_each_layer_and_every_tensor_in_json(tmp_path):
    """The table is for people, the JSON for the engine directory."""
    export(tmp_path, "int8_sq")
    report = verify(tmp_path, "int8_sq")
    lines = report.table().splitlines()
    assert lines[0].split(" | ")[1:4] == ["q_proj", "k_proj", "v_proj"]
    assert len(lines) == 2 + 2
    content = json.loads(report.to_json())
    assert content["is_sound"]
    assert len(content["tensors"]) == len(report.tensors) == 2 * 9 + 3
    assert report.summary().startswith("int8_sq: 21 tensors")
    report.write(tmp_path)
    assert json.loads((tmp_path / "checkpoint_report.json").read_text()) == content
    assert (tmp_path / "checkpoint_report.md").read_text().endswith(report.table())
