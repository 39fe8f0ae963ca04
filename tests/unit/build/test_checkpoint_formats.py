"""What can be exported at all, told before the weights are read; and what the rotary embedding of a source is."""

import numpy as np
import pytest

from trident.errors import RecipeError
from trident.manifest import Parallelism
from trident_build.checkpoint_config import rotary
from trident_build.checkpoint_formats import Shape, check_format, group_size
from trident_build.dequantize import weight_only
from trident_build.recipe import Quantization

SMOLLM2 = Shape("LlamaForCausalLM", 30, 576, 1536, 9, 3, 64, 49152)
LLAMA_70B = Shape("LlamaForCausalLM", 80, 8192, 28672, 64, 8, 128, 128256)


def check(shape=SMOLLM2, precision="fp8", layout="tensorrt_llm", tp=1, pp=1, **quantization):
    check_format(shape, precision, Quantization(**quantization), Parallelism(tp=tp, pp=pp), layout)


@pytest.mark.parametrize(
    ("shape", "tp", "expected"), [(SMOLLM2, 1, 64), (SMOLLM2, 3, 64), (LLAMA_70B, 8, 128), (LLAMA_70B, 64, 64)]
)
def test_the_largest_group_that_divides_every_layer_on_every_gpu_is_chosen(shape, tp, expected):
    """576 inputs are no multiple of 128; 28672 / 64 GPUs are neither."""
    assert group_size(shape, "int4_awq", Quantization(), Parallelism(tp=tp)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tp": 2}, r"parallelism.tp 2 does not divide 9 attention heads.*use 1, 3$"),
        ({"pp": 4}, r"parallelism.pp 4 does not divide 30 layers; use 1, 2, 3, 5, 6"),
        ({"precision": "int4_awq", "group_size": 128}, r"group_size 128 does not divide q_proj.*576 wide.*use 64"),
        ({"precision": "int4_awq", "group_size": 32}, r"'int4_awq' has 128 and 64"),
        ({"precision": "nvfp4", "group_size": 64}, r"'nvfp4' has 16"),
        ({"precision": "fp8", "group_size": 64}, r"precision 'fp8' has no groups"),
        ({"precision": "int8_sq", "tp": 16, "shape": LLAMA_70B}, r"would repeat the 8 key-value heads"),
        ({"precision": "int4_wo", "layout": "hf"}, r"use 'int4_awq'"),
        ({"kv_cache": "int8", "layout": "hf"}, r"use 'fp8'"),
        ({"precision": "int8_wo", "exclude": ("o_proj",)}, r"exclude does not go with 'int8_wo'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(arguments, message):
    """One line, no weights read."""
    with pytest.raises(RecipeError, match=message):
        check(**arguments)


def test_an_architecture_without_a_checkpoint_here_goes_to_the_other_engine():
    """Its PyTorch form needs no such checkpoint."""
    gemma = Shape("Gemma3ForCausalLM", 26, 1152, 6912, 4, 1, 256, 262144)
    with pytest.raises(RecipeError, match="use kind 'tensorrt_llm_pytorch'"):
        check(gemma)
    check(gemma, layout="hf")


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    ("config", "base", "scaling"),
    [
        ({"rope_theta": 500000.0}, 500000.0, None),
        ({"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}}, 100000.0, None),
        ({"rope_theta": 5e5, "rope_scaling": LLAMA3}, 5e5, {**LLAMA3, "type": "llama3"}),
        ({"rope_parameters": {**LLAMA3, "rope_theta": 5e5}}, 5e5, {**LLAMA3, "type": "llama3"}),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            1e4,
            {"type": "linear", "rope_type": "linear", "factor": 2.0},
        ),
        ({}, 10000.0, None),
    ],
)
def test_the_rotary_embedding_is_read_from_configs_of_transformers_4_and_5(config, base, scaling):
    """ModelOpt reads the older names only, and leaves TensorRT-LLM's default of 10000."""
    assert rotary(config) == (base, scaling)


@pytest.mark.parametrize(("bits", "steps"), [(8, 256), (4, 16)])
def test_weight_only_rounding_has_the_steps_of_its_bits(bits, steps):
    """One scale for each output, the largest value on the grid but for the one step that is missing above."""

    weight = np.linspace(-1, 1, 4001, dtype=np.float32)[None]
    rounded = weight_only(weight, bits)
    assert len(np.unique(rounded)) == steps
    assert np.abs(rounded - weight).max() <= 2.0 / steps + 1e-6
