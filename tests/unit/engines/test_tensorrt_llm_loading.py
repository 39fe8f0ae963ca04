"""Which engines the TensorRT-LLM adapter loads, with which arguments, and what it refuses by name before it does."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.unit.engines.tensorrt_llm_engines import KINDS, VOCAB_SIZE, manifest_of, write_engine
from tests.unit.engines.tensorrt_llm_hearer import llm
from trident.engines.load import check_runnable, load_engine
from trident.engines.tensorrt_llm import TensorRtLlmEngine
from trident.errors import HostError, ManifestError, UnsupportedParameterError
from trident.manifest import DraftModel, Parallelism, PromptLookup

ENGINE, PYTORCH = KINDS
pytestmark = pytest.mark.usefixtures("double")


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_s_limits_and_options_are_the_engine_s(load_one, kind):
    load_one(kind, options={"scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION"})
    args = llm().args
    assert (args.max_batch_size, args.max_num_tokens, args.max_seq_len) == (3, 64, 2048)
    assert (args.kv_cache_config.max_tokens, args.kv_cache_config.enable_block_reuse) == (4096, True)
    assert args.scheduler_config.capacity_scheduler_policy == "MAX_UTILIZATION"
    assert args.enable_chunked_prefill
    assert args.guided_decoding_backend == "xgrammar"


def test_the_cache_of_a_fraction_of_the_memory_and_in_fp8(load_one):
    load_one(PYTORCH, kv_cache_fraction=0.7, kv_cache_precision="fp8")
    config = llm().args.kv_cache_config
    assert (config.max_tokens, config.free_gpu_memory_fraction, config.dtype) == (None, 0.7, "fp8")


@pytest.mark.parametrize(
    ("speculation", "expected"),
    [
        (PromptLookup(kind="prompt_lookup", num_draft_tokens=4, max_ngram_tokens=3), {"max_matching_ngram_size": 3}),
        (DraftModel(kind="draft_model", path="draft", num_draft_tokens=4), {}),
    ],
)
def test_the_pytorch_backend_speculates_and_engines_say_that_they_cannot(load_one, speculation, expected):
    load_one(PYTORCH, speculation=speculation)
    config = llm().args.speculative_config
    assert {"max_draft_len": 4, **expected}.items() <= config.model_dump().items()
    with pytest.raises(ManifestError, match=f"a TensorRT engine cannot speculate by {speculation.kind}"):
        load_one(ENGINE, speculation=speculation)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_batch_sise": 3}, "max_batch_sise"),
        ({"max_batch_size": 3}, "'max_batch_size' cannot be set by an option"),
        ({"trust_remote_code": True}, "'trust_remote_code' cannot be set by an option"),
        ({"kv_cache_config.max_tokens": 3}, "'kv_cache_config.max_tokens' cannot be set by an option"),
        (
            {"kv_cash_config.max_tokens": 3},
            "option 'kv_cash_config.max_tokens' is of no section; there are kv_cache_config",
        ),
        ({"kv_cache_config.no_such": 3}, "no_such"),
        ({"scheduler_config.capacity_scheduler_policy": "FIRST"}, "capacity_scheduler_policy"),
    ],
)
def test_a_bad_option_is_refused_by_name_when_the_engine_is_loaded(load_one, kind, options, problem):
    with pytest.raises(ManifestError, match=problem):
        load_one(kind, options=options)


def test_an_argument_of_the_other_kind_is_refused(load_one):
    with pytest.raises(ManifestError, match="normalize_log_probs"):
        load_one(PYTORCH, options={"normalize_log_probs": True})
    with pytest.raises(ManifestError, match="stream_interval"):
        load_one(ENGINE, options={"stream_interval": 4})


@pytest.mark.parametrize(
    ("kind", "version", "problem"),
    [
        (ENGINE, "0.21.0", "TensorRT-LLM 0.21.0 is too old for engines of kind tensorrt_llm: it takes 1.0 to 1.2.1"),
        (PYTORCH, "0.21.0", "too old"),
        (ENGINE, "1.3.0rc24", "TensorRT-LLM 1.3.0rc24 runs no TensorRT engines any more: use 1.0 to 1.2.1"),
    ],
)
def test_a_version_that_cannot_run_the_kind_is_refused(load_one, double, monkeypatch, kind, version, problem):
    monkeypatch.setattr(double, "__version__", version)
    with pytest.raises(HostError, match=problem):
        load_one(kind)


def test_a_newer_version_runs_checkpoints(load_one, double, monkeypatch):
    monkeypatch.setattr(double, "__version__", "1.3.0rc24")
    hearer = load_one(PYTORCH)
    assert len(hearer.answer(max_tokens=3)[1]) == 3


@pytest.mark.parametrize(
    ("version", "parameters", "problem"),
    [
        ("1.0.0", {"cache_salt": "red"}, "cache_salt is not supported by this engine: it needs TensorRT-LLM 1.1"),
        ("1.0.0", {"logit_bias": np.ones(VOCAB_SIZE, np.float32)}, "embedding_bias_words .* it needs TensorRT-LLM 1.1"),
        ("1.1.0", {"wants_log_probs": True, "top_logprobs": 2}, "top_logprobs=2 .* it needs TensorRT-LLM 1.2"),
    ],
)
def test_what_came_with_a_later_version_is_refused_by_name(load_one, double, monkeypatch, version, parameters, problem):
    monkeypatch.setattr(double, "__version__", version)
    hearer = load_one(PYTORCH)
    sequence, _ = hearer.answer(**parameters)
    assert isinstance(hearer.ends[sequence], UnsupportedParameterError)
    assert re.match(problem, hearer.ends[sequence].message)
    assert len(hearer.answer(max_tokens=3, wants_log_probs=True, top_logprobs=1)[1]) == 3


def test_an_engine_of_another_version_is_refused_before_it_is_loaded(load_one, double, monkeypatch):
    monkeypatch.setattr(double, "__version__", "1.2.0")
    with pytest.raises(ManifestError, match=r"built by TensorRT-LLM 1\.2\.1, and 1\.2\.0 is installed"):
        load_one(ENGINE)


@pytest.mark.parametrize(
    ("built", "problem"),
    [
        ({"max_batch_size": 2}, r"max_num_seqs must be at most 2, which it was built for \(max_batch_size\), got 3"),
        ({"max_num_tokens": 32}, "max_num_batched_tokens must be at most 32"),
        ({"max_seq_len": 512}, "max_seq_tokens must be at most 512"),
        ({"max_input_len": 256}, "max_input_tokens must be at most 256"),
    ],
)
def test_limits_beyond_what_an_engine_was_built_for_are_refused(tmp_path, built, problem):
    manifest = manifest_of(ENGINE)
    with pytest.raises(ManifestError, match=problem):
        TensorRtLlmEngine(write_engine(tmp_path, manifest, **built), manifest)


def test_an_engine_for_other_gpus_or_with_a_part_missing_is_refused(tmp_path):
    manifest = manifest_of(ENGINE)
    write_engine(tmp_path, manifest)
    with pytest.raises(ManifestError, match="it was built for tp_size 1, its manifest says 2"):
        TensorRtLlmEngine(tmp_path, manifest_of(ENGINE, parallelism=Parallelism(tp=2)))
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_config"]["mapping"]["cp_size"] = 2
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ManifestError, match="it was built for cp_size 2, its manifest says 1; build it again"):
        TensorRtLlmEngine(tmp_path, manifest)
    write_engine(tmp_path, manifest)
    (tmp_path / "rank0.engine").unlink()
    with pytest.raises(ManifestError, match=r"rank0\.engine is missing; build it again"):
        TensorRtLlmEngine(tmp_path, manifest)
    write_engine(tmp_path, manifest, plugin_config={})
    with pytest.raises(ManifestError, match="built without LoRA"):
        TensorRtLlmEngine(tmp_path, manifest_of(ENGINE, loras={"red": "red"}))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"config\.json is not that of a TensorRT engine"):
        TensorRtLlmEngine(tmp_path, manifest)


@pytest.mark.parametrize("kind", KINDS)
def test_both_kinds_are_loaded_by_their_manifest(tmp_path, kind):
    manifest = manifest_of(kind)
    check_runnable(manifest)
    engine = load_engine(write_engine(tmp_path, manifest), manifest)
    assert type(llm()).__name__ == {ENGINE: "EngineLLM", PYTORCH: "TorchLLM"}[kind]
    assert not engine.is_simulated
    engine.close()
