"""Promises of the replay engine's KV cache: what is found again, what gives way, and that nothing is kept too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.adapter_suite import Listener, ask, prompt
from tests.unit.engines.replay_engines import ANSWER, engine_of, heard
from trident.engines.replay_timing import Timing


def test_a_prompt_is_found_again_block_by_block():
    engine = engine_of()
    ids = prompt(1, 100)
    first, same, longer, other = ask(ids), ask(ids), ask([*ids[:64], *prompt(2, 64)]), ask(prompt(3, 100))
    found = [heard(engine, sequence).num_cached[sequence] for sequence in (first, same, longer, other)]
    assert found == [0, 96, 64, 0]
    assert engine.stats().num_reused_blocks == 5


def test_the_last_token_of_a_prompt_is_always_computed():
    engine = engine_of()
    heard(engine, ask(prompt(1, 64)))
    again = ask(prompt(1, 64))
    assert heard(engine, again).num_cached[again] == 32


def test_an_answer_is_found_again_as_part_of_the_next_prompt():
    engine = engine_of()
    first = ask(prompt(1, 40), 50)
    answer = heard(engine, first).ids[first]
    second = ask([*prompt(1, 40), *answer, *prompt(2, 20)])
    assert heard(engine, second).num_cached[second] == 64  # of 90; the third block was not full


def test_prompts_of_different_salts_do_not_meet():
    engine = engine_of()
    salts = [None, "a", "b", "a"]
    sequences = [ask(prompt(1, 100), cache_salt=salt) for salt in salts]
    assert [heard(engine, sequence).num_cached[sequence] for sequence in sequences] == [0, 0, 0, 96]


def test_a_prompt_is_found_by_those_that_run_beside_it():
    engine = engine_of()
    listener = Listener(engine)
    first, second = ask(prompt(1, 64), 20), ask(prompt(1, 64), 20)
    listener.submit(first)
    listener.until_running(first)
    shared = engine.stats().kv_cache_fraction
    listener.submit(second)
    listener.until_running(second)
    assert listener.num_cached[second] == 32
    assert engine.stats().kv_cache_fraction < 2 * shared


def test_the_least_recently_used_prompt_gives_way():
    engine = engine_of(num_blocks=8)
    for number in (1, 2, 1, 3):  # each needs 3 blocks and one for its answer
        heard(engine, ask(prompt(number, 96), 2))
    again = [ask(prompt(number, 96), 2) for number in (1, 2)]
    found = [heard(engine, sequence).num_cached[sequence] for sequence in again]
    assert found == [64, 32]  # the end of a prompt goes before its beginning


def test_the_youngest_pauses_when_blocks_run_out_and_loses_no_token():
    engine = engine_of(num_blocks=6)
    old, young = ask(prompt(1, 60), 80), ask(prompt(2, 60), 80)
    listener = Listener(engine)
    listener.submit(old, young)
    listener.listen(lambda: engine.stats().num_paused)
    stats = engine.stats()
    assert (stats.num_running, stats.num_paused, stats.num_queued) == (1, 1, 0)
    assert 0 < stats.kv_cache_fraction <= 1
    listener.until_ended(old)
    assert young not in listener.ends
    listener.until_ended(young)
    assert listener.ids[old] == listener.ids[young] == [*ANSWER, *ANSWER[:30]]
    assert listener.num_cached == {old: 0, young: 0}
    listener.until_idle()


def test_a_paused_sequence_can_be_cancelled():
    engine = engine_of(num_blocks=6)
    old, young = ask(prompt(1, 60), 80), ask(prompt(2, 60), 80)
    listener = Listener(engine)
    listener.submit(old, young)
    listener.listen(lambda: engine.stats().num_paused)
    engine.cancel(young)
    listener.until_ended(old, young)
    assert listener.ends == {old: "length", young: "cancelled"}
    listener.until_idle()


def test_what_can_never_fit_fails_by_itself_and_at_once():
    engine = engine_of(num_blocks=4)
    huge, small = ask(prompt(1, 100), 40), ask(prompt(2, 100), 28)
    listener = heard(engine, huge, small)
    assert str(listener.ends[huge]) == "the KV cache of 4 blocks is too small for this sequence's 5"
    assert listener.ends[small] == "length"


@given(data=st.data())
def test_every_load_ends_with_every_token_and_no_block_held(data):
    """For every mixture of prompts, lengths and cancels, in a cache that holds the largest of them and little more."""
    draw = data.draw
    engine = engine_of(
        timing=Timing(base_ms=1.0, per_sequence_ms=0.1, per_context_token_us=1.0, prefill_tokens_per_s=1e4),
        max_num_seqs=draw(st.integers(1, 5)),
        max_num_batched_tokens=draw(st.integers(1, 70)),
        num_blocks=draw(st.integers(5, 12)),
    )
    listener = Listener(engine)
    cancelled = set()
    for _ in range(draw(st.integers(1, 12))):
        sequence = ask(prompt(draw(st.integers(1, 3)), draw(st.integers(1, 90))), draw(st.integers(1, 70)))
        listener.submit(sequence)
        if draw(st.booleans()):
            for progress in engine.wait(draw(st.floats(0, 0.05))):
                listener.hear(progress)
        if draw(st.integers(0, 3)) == 0:
            cancelled.add(victim := draw(st.sampled_from(listener.asked)))
            engine.cancel(victim)
        assert engine.stats().kv_cache_fraction <= 1
    listener.until_ended(*listener.asked)
    listener.until_idle()
    for sequence in listener.asked:
        num_tokens = sequence.request.max_tokens
        is_whole = listener.ends[sequence] == "length"
        assert is_whole or sequence in cancelled
        said = listener.ids[sequence]
        assert said == [ANSWER[place % len(ANSWER)] for place in range(num_tokens)][: len(said)]
        assert (len(said) == num_tokens) == is_whole
