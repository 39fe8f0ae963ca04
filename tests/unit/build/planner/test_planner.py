"""Plans against published figures, and what they say when something does not fit."""

import json

import pytest
from typer.testing import CliRunner

from trident.cli import app
from trident.errors import RecipeError, SettingsError
from trident.manifest import EngineKind, Parallelism
from trident_build.planner.capacity_plan import Load, plan_capacity
from trident_build.planner.memory import kv_bytes_per_token, weights_bytes
from trident_build.planner.parts import GPUS, find_part, probe_cpu
from trident_build.planner.rates import decode_step_s, prefill_tokens_per_s
from trident_build.planner.shapes import KNOWN, known_shape, shape_from_config
from trident_build.recipe import Quantization, Recipe, find_recipe, read_recipe, recipes_folder

GIB = 1 << 30
LOAD = Load(prompt_tokens=1024, output_tokens=256)
TOML = """
name = "{model}"
kind = "tensorrt_llm"
precision = "{precision}"
[source]
type = "hf"
repo = "some/{model}"
revision = "main"
model = "{model}"
licence = "x"
[limits]
max_input_tokens = 8192
max_output_tokens = 4096
max_seq_tokens = 12288
max_num_seqs = 256
max_num_batched_tokens = 8192
max_queued_requests = 1024
kv_cache_fraction = 0.9
"""


@pytest.fixture
def recipe_of(tmp_path):
    def make(model="llama-3.1-8b", precision="bf16", tp=1, kv_cache=None) -> Recipe:
        path = tmp_path / "recipe.toml"
        path.write_text(TOML.format(model=model, precision=precision))
        changes = {"parallelism": Parallelism(tp=tp), "quantization": Quantization(kv_cache=kv_cache)}
        return read_recipe(path).model_copy(update=changes)

    return make


@pytest.mark.parametrize(
    ("model", "billions"),  # as each model's card on huggingface.co says ("Model size", safetensors)
    [
        ("llama-3.1-8b", 8.03), ("llama-3.1-70b", 70.6), ("mistral-7b", 7.25), ("qwen3-0.6b", 0.596),
        ("qwen3-4b", 4.02), ("qwen3-8b", 8.19), ("qwen3-14b", 14.8), ("qwen3-32b", 32.8), ("gemma-2-9b", 9.24),
        ("smollm2-135m", 0.1345), ("gemma-3-1b", 1.0),
    ],
)  # fmt: skip
def test_the_number_of_weights_is_the_published_one(model, billions):
    assert KNOWN[model].num_weights / 1e9 == pytest.approx(billions, rel=0.005)


@pytest.mark.parametrize(
    ("model", "precision", "gigabytes"),  # https://huggingface.co/blog/llama31, "Inference Memory Requirements"
    [("llama-3.1-8b", "bf16", 16), ("llama-3.1-70b", "bf16", 140), ("llama-3.1-70b", "fp8", 70)],
)
def test_weights_take_what_is_published(recipe_of, model, precision, gigabytes):
    assert weights_bytes(recipe_of(model, precision), KNOWN[model]) / 1e9 == pytest.approx(gigabytes, rel=0.04)


def test_an_fp8_checkpoint_keeps_embedding_and_output_in_16_bits(recipe_of):
    """The table above rounds to 8 GB; the linear layers are 7 GB, and two layers of 128,256 x 4,096 another 2.1."""
    assert weights_bytes(recipe_of(precision="fp8"), KNOWN["llama-3.1-8b"]) == pytest.approx(9.08e9, rel=0.002)


@pytest.mark.parametrize(
    ("model", "tokens", "gibibytes"),  # https://huggingface.co/blog/llama31, KV cache in 16 bits
    [("llama-3.1-8b", 1024, 0.125), ("llama-3.1-8b", 128_000, 15.625), ("llama-3.1-70b", 128_000, 39.06)],
)
def test_a_kv_cache_takes_what_is_published(recipe_of, model, tokens, gibibytes):
    assert tokens * kv_bytes_per_token(recipe_of(model), KNOWN[model]) / GIB == pytest.approx(gibibytes, rel=0.001)


def test_a_kv_cache_in_fp8_is_half(recipe_of):
    assert kv_bytes_per_token(recipe_of(), KNOWN["llama-3.1-8b"]) == 131_072
    assert kv_bytes_per_token(recipe_of(kv_cache="fp8"), KNOWN["llama-3.1-8b"]) == 65_536


def test_what_does_not_fit_says_what_would(recipe_of):
    plan = plan_capacity(recipe_of("llama-3.1-70b"), KNOWN["llama-3.1-70b"], GPUS["h100"], LOAD)
    assert not plan.fits
    assert plan.advice == "use tp=2 or fp8"
    assert plan.num_seqs == plan.tokens_per_s == 0
    advised = recipe_of("llama-3.1-70b", tp=2)
    assert plan_capacity(advised, KNOWN["llama-3.1-70b"], GPUS["h100"], LOAD).fits


def test_fp8_is_not_advised_to_a_part_without_it(recipe_of):
    plan = plan_capacity(recipe_of("qwen3-32b"), KNOWN["qwen3-32b"], GPUS["l4"], LOAD)
    assert "fp8" not in plan_capacity(recipe_of("qwen3-32b", tp=1), KNOWN["qwen3-32b"], GPUS["a100"], LOAD).advice
    assert not plan.fits


def test_what_no_engine_could_be_is_refused(recipe_of):
    """Layers that cannot be cut so, requests that would be refused, arithmetic that the part has not."""
    shape = KNOWN["llama-3.1-8b"]
    with pytest.raises(RecipeError, match=r"tp=3 does not divide the layers of recipe llama-3.1-8b; use 1, 2, 4, 8"):
        plan_capacity(recipe_of(tp=3), shape, GPUS["h100"], LOAD)
    with pytest.raises(RecipeError, match=r"9000 and 256 tokens is beyond .*: prompts up to 8192, 12288 in all"):
        plan_capacity(recipe_of(), shape, GPUS["h100"], Load(9000, 256))
    with pytest.raises(RecipeError, match=r"a100 does not multiply in FP8, which precision 'fp8' .* needs"):
        plan_capacity(recipe_of(precision="fp8"), shape, GPUS["a100"], LOAD)


def test_gpus_that_outnumber_the_kv_heads_keep_copies(recipe_of):
    shape = KNOWN["gemma-3-1b"]
    assert kv_bytes_per_token(recipe_of(tp=4), shape) == 4 * kv_bytes_per_token(recipe_of(), shape)


def test_two_gpus_halve_the_weights_and_double_the_cache(recipe_of):
    shape = KNOWN["llama-3.1-8b"]
    one, two = (plan_capacity(recipe_of(tp=tp), shape, GPUS["h100"], LOAD) for tp in (1, 2))
    assert two.weights_bytes == pytest.approx(one.weights_bytes / 2)
    assert two.kv_cache_tokens > 2 * one.kv_cache_tokens  # what the halved weights leave is more
    assert one.num_seqs_that_fit == one.kv_cache_tokens // LOAD.seq_tokens
    assert one.num_seqs == 256  # the recipe's max_num_seqs


def test_one_stream_is_bound_by_bandwidth_and_a_prompt_by_arithmetic(recipe_of):
    """Reading 15 GB of bf16 weights at 70% of 3.35 TB/s takes 6.4 ms; half of 989 TFLOPS makes 33,000 tokens/s."""
    shape = KNOWN["llama-3.1-8b"]
    step_s = decode_step_s(recipe_of(), shape, GPUS["h100"], 1, 512)
    assert step_s == pytest.approx(15.0e9 / (0.7 * 3.35e12) + 1e-3, rel=0.02)
    assert prefill_tokens_per_s(recipe_of(), shape, GPUS["h100"], 512) == pytest.approx(35_000, rel=0.05)
    assert decode_step_s(recipe_of(precision="fp8"), shape, GPUS["h100"], 1, 512) < 0.7 * step_s


def test_the_cost_follows_from_price_and_rate(recipe_of):
    plan = plan_capacity(recipe_of(tp=2), KNOWN["llama-3.1-8b"], GPUS["h100"], Load(1024, 256, gpu_hour_price=3.0))
    assert plan.cost_per_million_tokens == pytest.approx(2 * 3.0 / (3600 * plan.tokens_per_s) * 1e6)


def test_a_model_is_found_by_the_longest_name_in_its_own():
    assert known_shape("meta-llama/Llama-3.1-8B-Instruct") is KNOWN["llama-3.1-8b"]
    assert known_shape("Qwen/Qwen3-4B-Instruct-2507") is KNOWN["qwen3-4b"]
    with pytest.raises(RecipeError, match=r"sizes of model 'Falcon-180B' are not known.*--config"):
        known_shape("Falcon-180B")


def test_a_config_has_the_same_shape(tmp_path):
    path = tmp_path / "config.json"
    config = {
        "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "vocab_size": 128256,
    }  # fmt: skip
    path.write_text(json.dumps(config))
    assert shape_from_config(path) == KNOWN["llama-3.1-8b"]
    path.write_text(json.dumps({"text_config": config}))
    assert shape_from_config(path) == KNOWN["llama-3.1-8b"]
    path.write_text(json.dumps({**config, "num_local_experts": 8, "num_experts_per_tok": 2}))
    assert shape_from_config(path).linear_weights > 5 * KNOWN["llama-3.1-8b"].linear_weights
    del config["hidden_size"]
    path.write_text(json.dumps(config))
    with pytest.raises(RecipeError, match="has no hidden_size"):
        shape_from_config(path)
    path.write_text("{")
    with pytest.raises(RecipeError, match="cannot be read"):
        shape_from_config(path)


def test_an_unknown_part_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match=r"unknown --gpu 'h10'; did you mean 'h100'\?"):
        find_part("h10")


def test_the_cpu_is_probed(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("cpu MHz\t\t: 2000.000\nflags\t\t: fpu avx2 avx512f\n")
    ticks = iter(range(1000))
    part = probe_cpu(lambda: next(ticks), cpuinfo)
    assert part.bytes_per_s == 2 * (1 << 26)
    assert part.flops["16"] % (2e9 * 64) == 0
    assert part.memory_bytes > 0


def test_the_verb_prints_the_plan_of_two_gpus(recipe_of, tmp_path):
    recipe_of(precision="fp8")
    arguments = ["plan", str(tmp_path / "recipe.toml"), "--tp", "2", "--price", "2.5"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "4.54 GB on each of 2" in result.output
    assert "a million tokens" in result.output
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)["num_parts"] == 2


@pytest.mark.parametrize("name", [path.stem for path in sorted(recipes_folder().glob("*.toml"))])
def test_every_shipped_recipe_can_be_planned(name):
    recipe = read_recipe(find_recipe(name))
    if recipe.kind in {EngineKind.REPLAY, EngineKind.OPENVINO_EMBEDDING}:
        pytest.skip("refused, see below")
    shape = known_shape(recipe.source.repo if recipe.source.type == "hf" else recipe.source.model)
    part = probe_cpu() if recipe.kind is EngineKind.OPENVINO else GPUS["h100"]
    assert plan_capacity(recipe, shape, part, LOAD).num_weights == shape.num_weights


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smollm2-135m", "--gpu", "h100"], "kind openvino, which does not run on --gpu h100"),
        (["replay-smollm2"], "has no weights"),
        (["all-minilm-l6-v2"], "makes embeddings"),
    ],
)
def test_a_part_that_cannot_run_the_kind_is_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)
