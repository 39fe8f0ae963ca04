"""What the TensorRT-LLM adapter does beyond the adapter suite, over the double of TensorRT-LLM."""

from __future__ import annotations

import importlib
import json
import re
import time

import numpy as np
import pytest

from tests.unit.engines.adapter_suite import LIMITS, LONG
from tests.unit.engines.listener import PATIENCE_S, Listener, ask, prompt
from tests.unit.engines.tensorrt_llm_engines import KINDS, VOCAB_SIZE, double_installed, load, manifest_of, write_engine
from trident.engines.base import Sampling
from trident.engines.load import check_runnable, load_engine
from trident.engines.tensorrt_llm import TensorRtLlmEngine
from trident.errors import EngineError, HostError, ManifestError, UnsupportedParameterError
from trident.manifest import DraftModel, Parallelism, PromptLookup
from trident.text.guides import Guide, GuideKind

ENGINE, PYTORCH = KINDS
QUESTION = (504, 3575, 282, 4649, 314)
SAMPLED = Sampling(temperature=0.7, seed=11)


class Hearer(Listener):
    """Keeps the log-probabilities and the beams too."""

    def __init__(self, engine) -> None:
        super().__init__(engine)
        self.log_probs, self.top, self.beams, self.lists = {}, {}, {}, []

    def hear(self, progress) -> None:
        super().hear(progress)
        if progress.log_probs is not None:
            self.log_probs.setdefault(progress.sequence, []).extend(progress.log_probs)
        if progress.top is not None:
            self.top.setdefault(progress.sequence, []).extend(progress.top)
        if progress.beams:
            self.beams[progress.sequence] = progress.beams

    def answer(self, **parameters):
        """The ids of one request."""
        sequence = ask(QUESTION, **parameters)
        self.run(sequence)
        return sequence, self.ids[sequence]


@pytest.fixture(scope="module", autouse=True)
def double():
    with double_installed() as package:
        yield package


@pytest.fixture
def load_one(tmp_path):
    """Loads an engine with a changed manifest; closes it in the end."""
    engines = []

    def load_one(kind, **changes) -> Hearer:
        engines.append(load(tmp_path, kind, **changes))
        return Hearer(engines[-1])

    yield load_one
    for engine in engines:
        engine.close()


def llm():
    """The double that was loaded last."""
    return importlib.import_module("tensorrt_llm.llm").loaded[-1]


def log_prob(token_id):
    return importlib.import_module("tensorrt_llm.output").log_prob(token_id)


def batch():
    return importlib.import_module("tensorrt_llm.batch")


def until(condition) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_frees_the_engine_s_own_blocks(load_one, kind):
    hearer = load_one(kind)
    sequence = ask(prompt(1, 100), LONG)
    hearer.submit(sequence)
    hearer.until_running(sequence)
    assert llm().batch.num_used_blocks > 0
    hearer.engine.cancel(sequence)
    hearer.until_ended(sequence)
    until(lambda: not llm().batch.is_busy)
    assert llm().batch.num_used_blocks == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_fails_ends_alone_and_says_nothing_of_files(load_one, kind, capfd):
    hearer = load_one(kind)
    neighbour, refused = ask(prompt(1, 5), 60), ask([5, batch().REFUSED_ID, 6])
    hearer.submit(neighbour)
    hearer.until_running(neighbour)
    hearer.run(refused)
    hearer.until_ended(neighbour)
    assert isinstance(hearer.ends[refused], EngineError)
    assert hearer.ends[refused].message == "the engine refused the request; see the server's log"
    assert (hearer.ends[neighbour], len(hearer.ids[neighbour])) == ("length", 60)
    assert "executor.cpp" in capfd.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_when_the_engine_fails_wait_raises_from_then_on(load_one, kind):
    hearer = load_one(kind)
    neighbour, deadly = ask(prompt(1, 5), LONG), ask([5, batch().DEADLY_ID])
    hearer.submit(neighbour)
    hearer.until_running(neighbour)
    hearer.engine.submit(deadly)
    with pytest.raises(EngineError, match="the engine ended unexpectedly"):
        hearer.listen(lambda: False)
    with pytest.raises(EngineError, match="the engine ended unexpectedly"):
        hearer.engine.wait(0)
    hearer.engine.submit(ask(QUESTION))
    hearer.engine.cancel(neighbour)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_brings_several_sequences_comes_as_one_list(load_one, kind):
    hearer = load_one(kind)
    sequences = [ask(prompt(seed, 5), LONG) for seed in range(LIMITS.max_num_seqs)]
    hearer.submit(*sequences)
    hearer.until_running(*sequences)
    lists = [hearer.engine.wait(1.0) for _ in range(30)]
    together = [news for news in lists if {one.sequence for one in news} == set(sequences)]
    assert len(together) > len(lists) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_are_of_each_id_and_come_only_when_asked_for(load_one, kind):
    hearer = load_one(kind)
    sequence, ids = hearer.answer(wants_log_probs=True)
    assert hearer.log_probs[sequence] == pytest.approx([log_prob(token_id) for token_id in ids])
    assert sequence not in hearer.top
    other, _ = hearer.answer()
    assert other not in hearer.log_probs


@pytest.mark.parametrize("kind", KINDS)
def test_top_log_probs_are_the_most_probable_ids_at_each_place(load_one, kind):
    hearer = load_one(kind, options={"gather_generation_logits": True})
    sequence, ids = hearer.answer(wants_log_probs=True, top_logprobs=3)
    assert [list(place) for place in hearer.top[sequence]] == [[one, one + 1, one + 2] for one in ids]
    assert hearer.log_probs[sequence] == pytest.approx([log_prob(token_id) for token_id in ids])


def test_beams_come_with_the_end_best_first_and_no_more_than_the_engine_was_built_for(load_one):
    hearer = load_one(ENGINE)
    sequence, ids = hearer.answer(beam_width=3, max_tokens=5)
    beams = hearer.beams[sequence]
    assert (ids, len(beams), {len(beam.token_ids) for beam in beams}) == ([], 3, {5})
    assert [beam.cum_log_prob for beam in beams] == [
        pytest.approx(sum(log_prob(one) for one in beam.token_ids)) for beam in beams
    ]
    assert llm().sampling_params[-1].length_penalty == 1.0
    refused, _ = hearer.answer(beam_width=5)
    assert hearer.ends[refused].message == "beam_width=5 is not supported by this engine: it was built for 4"


def test_an_engine_draws_by_the_request_s_seed(load_one):
    hearer = load_one(ENGINE)
    _, first = hearer.answer(sampling=SAMPLED)
    _, again = hearer.answer(sampling=SAMPLED)
    _, other = hearer.answer(sampling=Sampling(temperature=0.7, seed=12))
    assert first == again != other


def test_words_are_forbidden_whether_they_have_one_id_or_several(load_one):
    hearer = load_one(ENGINE)
    _, free = hearer.answer()
    _, bound = hearer.answer(bad_words=((free[1],), (free[3], free[4])))
    assert bound[0] == free[0]
    assert free[1] not in bound
    assert not any(bound[place : place + 2] == free[3:5] for place in range(len(bound)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_logit_bias_is_a_tensor_over_the_vocabulary(load_one, kind):
    hearer = load_one(kind)
    bias = np.zeros(VOCAB_SIZE, np.float32)
    bias[77] = 9.0
    _, ids = hearer.answer(logit_bias=bias, max_tokens=3)
    assert ids == [77] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_guide_goes_in_as_a_grammar(load_one, kind):
    hearer = load_one(kind)
    hearer.answer(guide=Guide(GuideKind.REGEX, "[ab]+"), eos_ids=(2,))
    guide = llm().sampling_params[-1].guided_decoding
    assert "root ::=" in guide.grammar
    assert guide.regex is None


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_of_different_salts_do_not_share_the_prefix_cache(load_one, kind):
    hearer = load_one(kind)
    asked = [ask(prompt(1, 100), 2, cache_salt=salt) for salt in ("red", "blue", "red")]
    for sequence in asked:
        hearer.run(sequence)
    assert [hearer.num_cached[sequence] for sequence in asked] == [0, 0, 96]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_named_by_its_own_number_and_folder(load_one, kind, tmp_path):
    for name, rank in (("red", 8), ("blue", 16)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(f'{{"r": {rank}}}')
    hearer = load_one(kind, loras={"red": "red", "blue": "blue"}, max_loras=1)
    for name in ("blue", "red", "blue"):
        hearer.answer(lora_name=name, max_tokens=1)
    requests = llm().lora_requests
    assert [(one.lora_name, one.lora_int_id) for one in requests] == [("blue", 2), ("red", 1), ("blue", 2)]
    assert requests[0].lora_path == str(tmp_path / "blue")
    config = llm().args.lora_config
    if kind is PYTORCH:
        assert (config.max_lora_rank, config.max_loras, config.max_cpu_loras) == (16, 1, 2)
    else:
        assert (config, llm().args.enable_lora) == (None, True)  # the engine's own holds


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_s_limits_and_options_are_the_engine_s(load_one, kind):
    load_one(kind, options={"scheduler_config.capacity_scheduler_policy": "MAX_UTILIZATION"})
    args = llm().args
    assert (args.max_batch_size, args.max_num_tokens, args.max_seq_len) == (3, 64, 1024)
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


def test_without_its_tokenizer_an_engine_runs_and_takes_no_guides(load_one, tmp_path):
    hearer = load_one(PYTORCH, options={"skip_tokenizer_init": True})
    assert len(hearer.answer(max_tokens=2)[1]) == 2
    assert llm().args.tokenizer is None


def test_several_eos_ids_and_a_least_length_go_together(load_one):
    """The runtime keeps the first back until then; the others end nothing before."""
    hearer = load_one(ENGINE)
    _, free = hearer.answer(max_tokens=12)
    sequence, ids = hearer.answer(max_tokens=12, min_tokens=4, eos_ids=(free[2], free[3], free[6]))
    assert (len(ids), ids[-1], hearer.ends[sequence]) == (7, free[6], "stop")


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_with_statistics_left_to_read_is_closed_all_the_same(load_one, kind, monkeypatch):
    monkeypatch.setattr(importlib.import_module("tensorrt_llm.llm"), "ITERATION_S", 0.0)
    hearer = load_one(kind)
    hearer.run(*[ask(prompt(seed, 5), LONG) for seed in range(LIMITS.max_num_seqs)])
    hearer.engine.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        hearer.engine.wait(None)
