"""What the TensorRT-LLM adapter answers beyond the adapter suite, over the double of TensorRT-LLM."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from tests.unit.engines.adapter_suite import LIMITS, LONG
from tests.unit.engines.listener import ask, prompt
from tests.unit.engines.tensorrt_llm_engines import KINDS, VOCAB_SIZE
from tests.unit.engines.tensorrt_llm_hearer import QUESTION, batch, llm, log_prob
from trident.engines.base import Sampling
from trident.errors import EngineError
from trident.text.guides import Guide, GuideKind

ENGINE, PYTORCH = KINDS
SAMPLED = Sampling(temperature=0.7, seed=11)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_frees_the_engine_s_own_blocks(load_one, kind):
    hearer = load_one(kind)
    sequence = ask(prompt(1, 100), LONG)
    hearer.submit(sequence)
    hearer.until_running(sequence)
    assert llm().batch.num_used_blocks > 0
    hearer.engine.cancel(sequence)
    hearer.until_ended(sequence)
    hearer.listen(lambda: not llm().batch.is_busy)
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


def test_without_its_tokenizer_an_engine_runs_and_takes_no_guides(load_one):
    hearer = load_one(PYTORCH, options={"skip_tokenizer_init": True})
    assert len(hearer.answer(max_tokens=2)[1]) == 2
    assert llm().args.tokenizer is None
    refused, _ = hearer.answer(guide=Guide(GuideKind.REGEX, "[ab]+"))
    assert isinstance(hearer.ends[refused], EngineError)


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
