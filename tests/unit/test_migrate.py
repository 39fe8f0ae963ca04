"""What `trident migrate` makes of NVIDIA's repositories: a recipe that reads, settings, and a report without gaps."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.contract.test_repository import LEFT_OUT
from tests.unit.engines.tensorrt_llm_engines import manifest_of
from tests.unit.nvidia_repositories import MODELS, write_engine_repository, write_llmapi_repository
from trident.cli import app
from trident.contract import ENSEMBLE
from trident.engines.tensorrt_llm_arguments import llm_arguments
from trident.errors import RepositoryError
from trident.migrate import migrate
from trident.migrate_report import report, tables
from trident.migrate_source import read_repository
from trident.migrate_tables import LLMAPI, LLMAPI_ARGUMENTS_LEFT_OUT, PARAMETERS, TENSORS_LEFT_OUT, Goes
from trident.settings import read_settings
from trident.upstream import read_upstream
from trident_build.recipe import Recipe, read_recipe
from trident_build.trtllm_build import build_flags

DOCUMENT = Path(__file__).parents[2] / "docs" / "migrating.md"


def migrated(repository: Path, tmp_path: Path) -> tuple[Recipe, str, dict[str, str]]:
    """Recipe, report and settings as the verb writes them."""
    output = tmp_path / "migrated"
    done = CliRunner().invoke(app, ["migrate", str(repository), "--output", str(output)], catch_exceptions=False)
    assert done.exit_code == 0
    settings = dict(line.split("=", 1) for line in (output / "trident.env").read_text().splitlines())
    return read_recipe(output / "recipe.toml"), (output / "report.md").read_text(), settings


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_recipe_builds_the_engine_that_was_served(tmp_path, name):
    facts = MODELS[name]
    recipe, _, settings = migrated(write_engine_repository(tmp_path, name), tmp_path)
    build, mapping = facts["build_config"], facts["pretrained_config"]["mapping"]
    flags = build_flags(recipe)
    for flag in ("max_batch_size", "max_input_len", "max_seq_len", "max_num_tokens", "max_beam_width"):
        assert flags[flag] == build[flag], flag
    assert recipe.precision == facts["precision"]
    assert (recipe.parallelism.tp, recipe.parallelism.pp) == (mapping["tp_size"], mapping["pp_size"])
    assert recipe.limits.max_queued_requests == 512
    assert recipe.source.path == tmp_path / name
    assert read_settings(settings).engine == recipe.name == name.lower()


def test_what_was_set_is_in_the_recipe(tmp_path):
    recipe, _, _ = migrated(write_engine_repository(tmp_path, "Llama-3.1-8B-Instruct"), tmp_path)
    assert recipe.limits.kv_cache_fraction == 0.85
    assert recipe.quantization.kv_cache == "fp8"
    assert recipe.options == {
        "enable_chunked_prefill": True,
        "scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION",
    }
    recipe, _, _ = migrated(write_engine_repository(tmp_path / "2", "gpt2"), tmp_path / "2")
    assert recipe.limits.kv_cache_tokens == 40960
    assert recipe.options == {"kv_cache_config.enable_block_reuse": False}


def test_the_report_names_each_parameter_and_tensor_without_equivalent(tmp_path):
    _, text, _ = migrated(write_engine_repository(tmp_path, "Llama-3.1-8B-Instruct"), tmp_path)
    without = text.split("## No equivalent")[1].split("## ")[0]
    for model, left_out in TENSORS_LEFT_OUT.items():
        for tensor in left_out:
            assert f"`{model}.{tensor}`" in without
    assert "`tensorrt_llm.lookahead_window_size`: an engine speculates" in without
    assert "`tensorrt_llm.max_attention_window_size`" in without
    assert "sink_token_length" not in text  # never filled: unset, as in NVIDIA's backend


def test_what_is_the_operator_s_own_is_named_too(tmp_path):
    repository = write_engine_repository(tmp_path, "gpt2")
    path = repository / "preprocessing" / "config.pbtxt"
    added = 'input [ { name: "MY_INPUT" data_type: TYPE_INT32 dims: [1] } ]\n'
    added += 'parameters: { key: "my_key" value: { string_value: "x" } }\n'
    path.write_text(path.read_text().replace("count: 1", "count: 4") + added)
    (repository / "tensorrt_llm_bls").mkdir()
    (repository / "tensorrt_llm_bls" / "config.pbtxt").write_text('name: "tensorrt_llm_bls"\n')
    found = read_repository(repository)
    text = report(found, migrate(found))
    assert "tensor `preprocessing.MY_INPUT`: NVIDIA's own template has no such tensor" in text
    assert "parameter `preprocessing.my_key`: NVIDIA's own template has no such parameter" in text
    assert "`preprocessing` has several instances" in text
    assert "model `tensorrt_llm_bls`: its clients call `ensemble`" in text


def test_without_the_engine_the_guesses_are_said(tmp_path):
    repository = write_engine_repository(tmp_path, "gpt2", engine_dir="/elsewhere/engine")
    recipe, text, _ = migrated(repository, tmp_path)
    assert recipe.precision == "bf16"
    assert "/elsewhere/engine/config.json is not on this machine" in text
    assert "max_seq_len is not said: 8192" in text


@pytest.mark.parametrize(
    ("filled", "complaint"),
    [
        (
            {"triton_max_batch_size": None},
            r"config.pbtxt:\d+ still has the placeholder \${triton_max_batch_size}; fill it in",
        ),
        ({"decoupled_mode": None}, r"the placeholder \${decoupled_mode}"),
        ({"engine_dir": None}, r"gpt_model_path is still the placeholder \${engine_dir}"),
        ({"engine_dir": ""}, "gpt_model_path is not set"),
        ({"batching_strategy": None}, r"gpt_model_type is still the placeholder \${batching_strategy}"),
        ({"tokenizer_dir": None}, r"tokenizer_dir is still the placeholder \${tokenizer_dir}"),
        ({"max_tokens_in_paged_kv_cache": "many"}, "max_tokens_in_paged_kv_cache is 'many'"),
        ({"enable_kv_cache_reuse": "yes"}, "enable_kv_cache_reuse is 'yes'"),
    ],
)
def test_a_placeholder_or_value_that_cannot_stand_is_one_line(tmp_path, filled, complaint):
    repository = write_engine_repository(tmp_path, "gpt2", **filled)
    with pytest.raises(RepositoryError, match=complaint) as caught:
        migrate(read_repository(repository))
    assert "\n" not in caught.value.message


def test_a_folder_that_is_none_of_nvidia_s_is_refused(tmp_path):
    with pytest.raises(RepositoryError, match="no repository of NVIDIA's"):
        read_repository(tmp_path)
    repository = write_engine_repository(tmp_path, "gpt2")
    (repository / "ensemble" / "config.pbtxt").unlink()
    with pytest.raises(RepositoryError, match=r"has no ensemble/config\.pbtxt"):
        read_repository(repository)


def test_nothing_is_overwritten(tmp_path):
    repository = write_engine_repository(tmp_path, "gpt2")
    migrated(repository, tmp_path)
    with pytest.raises(RepositoryError, match="is there already"):
        CliRunner().invoke(
            app, ["migrate", str(repository), "--output", str(tmp_path / "migrated")], catch_exceptions=False
        )


def test_llmapi_becomes_an_engine_of_the_pytorch_kind(tmp_path):
    repository = write_llmapi_repository(
        tmp_path,
        "model: meta-llama/Llama-3.1-8B-Instruct\nbackend: pytorch\ntensor_parallel_size: 2\n"
        "kv_cache_config:\n  free_gpu_memory_fraction: 0.8\n  enable_block_reuse: false\nmax_batch_size: 32\n"
        "cuda_graph_config: {batch_sizes: [1, 2], enable_padding: true}\ntriton_config:\n  decoupled: true\n",
    )
    recipe, text, settings = migrated(repository, tmp_path)
    assert (recipe.kind.value, recipe.source.locator) == ("tensorrt_llm_pytorch", "hf:meta-llama/Llama-3.1-8B-Instruct")
    assert (recipe.parallelism.tp, recipe.limits.kv_cache_fraction, recipe.limits.max_num_seqs) == (2, 0.8, 32)
    assert recipe.options == {"kv_cache_config.enable_block_reuse": False, "cuda_graph_config.enable_padding": True}
    assert "cuda_graph_config.batch_sizes of model.yaml is no single value and was left out" in text
    assert "| `sampling_param_max_tokens` | input | `max_tokens` | required |" in text
    assert settings == {"TRIDENT_ENGINE": "llama-3.1-8b-instruct"}


def test_an_engine_with_the_options_of_a_model_yaml_is_not_refused_for_them(tmp_path):
    """What Trident sets itself, or never lets run, is left out of the recipe and named in the report."""
    repository = write_llmapi_repository(
        tmp_path,
        "model: Qwen/Qwen3-8B\nbackend: _autodeploy\ntokenizer: Qwen/Qwen3-8B\ntrust_remote_code: true\n"
        "max_beam_width: 1\nnum_postprocess_workers: 4\nguided_decoding_backend: xgrammar\n"
        "enable_iter_perf_stats: true\nenable_lora: true\n"
        "context_parallel_size: 1\nspeculative_config: {decoding_type: NGram}\nlora_config: {max_loras: 2}\n"
        "scheduler_config: {capacity_scheduler_policy: MAX_UTILIZATION}\nmax_seq_len: null\n"
        "kv_cache_config: {free_gpu_memory_fraction: null, dtype: fp8}\n",
    )
    recipe, text, _ = migrated(repository, tmp_path)
    assert recipe.options == {
        "scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION",
        "kv_cache_config.dtype": "fp8",
    }
    manifest = manifest_of(recipe.kind, options=recipe.options)
    assert llm_arguments(tmp_path, manifest)["kv_cache_config"]["dtype"] == "fp8"
    for name, reason in LLMAPI_ARGUMENTS_LEFT_OUT.items():
        assert f"{name} of model.yaml was left out: {reason}" in text
    assert "backend _autodeploy: the recipe is for the PyTorch backend" in text


@pytest.mark.parametrize(
    "line", ["tensor_parallel_size: two", "max_batch_size: [1]", "kv_cache_config: {free_gpu_memory_fraction: most}"]
)
def test_a_number_that_is_none_in_model_yaml_is_one_line(tmp_path, line):
    repository = write_llmapi_repository(tmp_path, f"model: a/b\n{line}\n")
    with pytest.raises(RepositoryError, match=r"model\.yaml has a value that cannot be read") as caught:
        migrate(read_repository(repository))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n", "backend: pytorch\n"])
def test_a_broken_model_yaml_is_one_line(tmp_path, text):
    with pytest.raises(RepositoryError, match=r"model\.yaml"):
        read_repository(write_llmapi_repository(tmp_path, text))


def test_every_parameter_and_tensor_of_nvidia_s_has_its_line():
    upstream = read_upstream()
    for model, parameters in PARAMETERS.items():
        assert parameters.keys() == upstream[model].parameters.keys()
    assert {model: set(left_out) for model, left_out in TENSORS_LEFT_OUT.items()} == LEFT_OUT
    for side in ("inputs", "outputs"):
        assert list(LLMAPI[side]) == [tensor.name for tensor in getattr(upstream["llmapi"].model, side)]


def test_what_llmapi_s_tensors_become_is_there():
    ours = {
        "inputs": {tensor.name for tensor in ENSEMBLE.inputs},
        "outputs": {tensor.name for tensor in ENSEMBLE.outputs},
    }
    for side, tensors in LLMAPI.items():
        for name, renamed in tensors.items():
            assert renamed.to is None or renamed.to in ours[side] | {"stop"}, name
            assert renamed.to is not None or renamed.note, f"{name} needs a reason"


def test_what_goes_into_the_recipe_names_a_key_of_it():
    fields = Recipe.model_fields.keys()
    for parameters in PARAMETERS.values():
        for key, fate in parameters.items():
            if fate.goes is Goes.RECIPE:
                assert fate.where.partition(".")[0] in fields, key


def test_the_document_has_the_tables():
    """`trident migrate --tables` prints them."""
    assert tables() in DOCUMENT.read_text(encoding="utf-8")
