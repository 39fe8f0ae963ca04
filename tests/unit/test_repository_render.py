"""What `trident repository render` writes for the C++ backend is upstream's contract with one engine's values."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from tests.unit.manifests import MANIFEST
from tests.unit.tensorrt_engines import ENGINES, VOCABULARY, write_tensorrt_engine
from trident.cli import app
from trident.errors import ManifestError, RepositoryError
from trident.manifest import EngineKind, Parallelism
from trident.repository import check_profile, check_repository, read_config
from trident.repository_cpp import CONFIG, UPSTREAM
from trident.repository_render import read_engine, render_repository
from trident.server.repository import default_repository


@pytest.fixture(params=sorted(ENGINES))
def engine(request, tmp_path):
    return read_engine(write_tensorrt_engine(tmp_path / "engine", request.param))


@pytest.fixture
def rendered(engine, tmp_path):
    output = tmp_path / "repository"
    render_repository(engine, default_repository(), output)
    return output


def parameters(repository) -> dict[str, str]:
    config = read_config(repository / "tensorrt_llm" / CONFIG)
    return {key: value.string_value for key, value in config.parameters.items()}


def test_the_whole_repository_keeps_the_contract_and_has_every_parameter_once(rendered):
    assert check_repository(rendered) == []
    text = (rendered / "tensorrt_llm" / CONFIG).read_text()
    assert len(parameters(rendered)) == len(UPSTREAM.parameters) == 46
    assert len(re.findall(r"^parameters ", text, re.MULTILINE)) == 46
    assert "${" not in text
    assert "${" not in (rendered / "ensemble" / CONFIG).read_text()


def test_sizes_are_the_engine_s(engine, rendered):
    config, ensemble = (read_config(rendered / model / CONFIG) for model in ("tensorrt_llm", "ensemble"))
    facts = ENGINES[engine.manifest.name]
    assert config.max_batch_size == facts["batch"]
    assert list(config.dynamic_batching.preferred_batch_size) == [facts["batch"]]
    assert ensemble.max_batch_size <= facts["batch"]  # Triton refuses an ensemble whose model takes less
    assert config.dynamic_batching.default_queue_policy.max_queue_size == engine.manifest.limits.max_queued_requests
    assert parameters(rendered)["max_beam_width"] == str(facts["beams"])
    assert parameters(rendered)["decoding_mode"] == ("beam_search" if facts["beams"] > 1 else "top_k_top_p")


def test_reuse_and_chunked_prefill_are_on_where_the_engine_can_do_them(engine, rendered):
    can = "true" if ENGINES[engine.manifest.name]["paged_fmha"] else "false"
    found = parameters(rendered)
    assert (found["enable_kv_cache_reuse"], found["enable_chunked_context"]) == (can, can)


def test_paths_are_absolute_and_there(engine, rendered):
    found = parameters(rendered)
    for key in ("gpt_model_path", "tokenizer_dir", "xgrammar_tokenizer_info_path"):
        assert type(engine.directory)(found[key]).is_absolute()
        assert type(engine.directory)(found[key]).exists()


def test_the_tokenizer_info_has_a_token_for_every_id_of_the_model(engine, rendered):
    info = json.loads(type(engine.directory)(parameters(rendered)["xgrammar_tokenizer_info_path"]).read_text())
    assert info["encoded_vocab"] == [*VOCABULARY, ""]  # the model has one id more than the tokenizer
    assert info["stop_token_ids"] == [0]
    assert json.loads(info["tokenizer_str"])["model"]["vocab"] == VOCABULARY


@pytest.mark.parametrize(
    ("changes", "tokens", "fraction"),
    [
        ({"kv_cache_fraction": 0.85}, "", "0.85"),
        ({"kv_cache_fraction": None}, str(MANIFEST.limits.kv_cache_tokens), ""),
    ],
)
def test_the_kv_cache_is_what_the_manifest_says(tmp_path, changes, tokens, fraction):
    directory = write_tensorrt_engine(tmp_path / "engine", "llama", **changes)
    engine = read_engine(directory)
    render_repository(engine, default_repository(), tmp_path / "repository")
    found = parameters(tmp_path / "repository")
    assert (found["max_tokens_in_paged_kv_cache"], found["kv_cache_free_gpu_mem_fraction"]) == (tokens, fraction)


def test_the_manifest_s_options_become_parameters(tmp_path):
    options = {"enable_chunked_prefill": False, "scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION"}
    engine = read_engine(write_tensorrt_engine(tmp_path / "engine", "llama", options=options))
    render_repository(engine, default_repository(), tmp_path / "repository")
    found = parameters(tmp_path / "repository")
    assert (found["enable_chunked_context"], found["batch_scheduler_policy"]) == ("false", "max_utilization")


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("llama", {"gpus_per_node": 8}, "no parameter for option 'gpus_per_node'"),
        ("gpt2", {"enable_chunked_prefill": True}, "needs one that was built with use_paged_context_fmha"),
    ],
)
def test_an_option_that_cannot_be_kept_is_refused_by_name(tmp_path, name, options, complaint):
    engine = read_engine(write_tensorrt_engine(tmp_path / "engine", name, options=options))
    with pytest.raises(ManifestError, match=complaint):
        render_repository(engine, default_repository(), tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_what_is_there_is_not_overwritten(engine, tmp_path):
    (tmp_path / "repository").mkdir()
    with pytest.raises(RepositoryError, match="is there already"):
        render_repository(engine, default_repository(), tmp_path / "repository")


def test_an_engine_of_another_kind_is_refused(tmp_path):
    directory = write_tensorrt_engine(tmp_path / "engine", "llama", kind=EngineKind.OPENVINO)
    with pytest.raises(ManifestError, match="the C\\+\\+ backend runs tensorrt_llm engines only"):
        read_engine(directory)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"build_config": {}, "pretrained_config": {"mapping": {}}}', "max_batch_size"),
        ('{"build_config": {"max_batch_size": 1}, "pretrained_config": {"mapping": {"world_size": 3}}}', "is 3"),
        ('{"build_config": {"max_batch_size": 1}, "pretrained_config": {"mapping": 5}}', "AttributeError"),
    ],
)
def test_a_broken_config_json_is_one_clear_line(tmp_path, text, complaint):
    directory = write_tensorrt_engine(tmp_path / "engine", "llama")
    (directory / "config.json").write_text(text)
    with pytest.raises(ManifestError, match=complaint) as caught:
        read_engine(directory)
    assert "config.json is not an engine's config" in caught.value.message


def test_ranks_that_differ_from_the_manifest_are_refused(tmp_path):
    directory = write_tensorrt_engine(tmp_path / "engine", "llama", parallelism=Parallelism())
    with pytest.raises(ManifestError, match="has 2 ranks, the manifest 1"):
        read_engine(directory)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('parameters { key: "sink_token_length"  value: { string_value: "" } }', "", "sink_token_length is missing"),
        ('key: "sink_token_length"', 'key: "sink_token_lenght"', "sink_token_lenght is none of the C\\+\\+ backend"),
        ('"no"', '"yes"', "FORCE_CPU_ONLY_INPUT_TENSORS is 'yes', must be 'no'"),
        ("  reshape: { shape: [ ] }", "", "encoder_output_lengths must have a reshape"),
        ('"seed"  data_type: TYPE_UINT64', '"seed"  data_type: TYPE_INT64', "seed is TYPE_INT64"),
        ("decoupled: true", "decoupled: false", "decoupled must be true"),
    ],
)
def test_a_changed_profile_is_reported_by_name(tmp_path, old, new, complaint):
    repository = shutil.copytree(default_repository(), tmp_path / "repository")
    path = repository / "tensorrt_llm" / CONFIG
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert any(re.search(complaint, line) for line in check_profile(repository))


def test_without_output_the_verb_prints_the_config_and_writes_nothing(tmp_path):
    write_tensorrt_engine(tmp_path / "engine", "llama")
    done = CliRunner().invoke(app, ["repository", "render", str(tmp_path / "engine")], catch_exceptions=False)
    assert done.exit_code == 0
    path = tmp_path / "printed.pbtxt"
    path.write_text(done.stdout)
    assert read_config(path).parameters["gpt_model_path"].string_value == str(tmp_path / "engine")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "engine", path]
