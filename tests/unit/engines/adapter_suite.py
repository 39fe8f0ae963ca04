"""What every engine adapter promises. A test module subclasses `AdapterSuite` and gives two fixtures:

engine       loaded with LIMITS, idle; may be shared by all tests, each leaves it idle again
new_engine   one more, for the test that closes it
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.engines.listener import PATIENCE_S, Listener, ask, prompt
from trident.errors import EngineError
from trident.manifest import Limits

LIMITS = Limits(
    max_input_tokens=512,
    max_output_tokens=1024,
    max_seq_tokens=2048,
    max_num_seqs=3,
    max_num_batched_tokens=64,
    max_queued_requests=16,
    kv_cache_tokens=4096,
)
LONG = 1000  # tokens of an answer that is still under way when a test is done with it, on a busy machine too


class AdapterSuite:
    """The tests. `question` is a prompt whose greedy answer begins with at least three different ids."""

    question: tuple[int, ...] = (504, 3575, 282, 4649, 314)

    @pytest.fixture
    def listener(self, engine):
        """Every test leaves nothing behind, whatever it was about: the engine says so itself."""
        listener = Listener(engine)
        yield listener
        for sequence in listener.asked:
            engine.cancel(sequence)
        listener.until_ended(*listener.asked)
        listener.until_idle()

    @pytest.fixture
    def crowd(self, listener):
        """As many long answers as the batch has places, all under way."""
        sequences = [ask(prompt(seed, 5), LONG) for seed in range(LIMITS.max_num_seqs)]
        listener.submit(*sequences)
        listener.until_running(*sequences)
        return sequences

    @pytest.mark.parametrize("max_tokens", [1, 2, 17, 40])
    def test_an_answer_has_max_tokens_when_nothing_else_ends_it(self, listener, max_tokens):
        sequence = ask(self.question, max_tokens)
        listener.run(sequence)
        assert len(listener.ids[sequence]) == max_tokens
        assert listener.ends[sequence] == "length"

    def test_an_eos_id_ends_the_answer_and_is_its_last_id(self, listener):
        free = ask(self.question)
        listener.run(free)
        said = listener.ids[free]
        place = next(place for place, token_id in enumerate(said) if place and token_id not in said[:place])
        bound = ask(self.question, eos_ids=(said[place],))
        listener.run(bound)
        assert listener.ids[bound] == said[: place + 1]
        assert listener.ends[bound] == "stop"

    def test_no_eos_id_ends_an_answer_before_min_tokens(self, listener):
        free = ask(self.question)
        listener.run(free)
        bound = ask(self.question, LONG, min_tokens=6, eos_ids=tuple(listener.ids[free]))
        listener.run(bound)
        said = listener.ids[bound]
        assert len(said) > 6
        assert (listener.ends[bound], said[-1] in bound.request.eos_ids) == ("stop", True)

    def test_sequences_of_a_batch_do_not_touch_each_other(self, listener):
        sequences = [ask(prompt(number, 5 + 20 * number), 3 + 10 * number) for number in range(LIMITS.max_num_seqs)]
        listener.run(*sequences)
        assert [len(listener.ids[sequence]) for sequence in sequences] == [3, 13, 23]
        assert {listener.ends[sequence] for sequence in sequences} == {"length"}

    def test_a_sequence_joins_and_leaves_while_others_run(self, listener):
        first, second = ask(prompt(1, 5), LONG), ask(prompt(2, 5), 4)
        listener.submit(first)
        listener.until_running(first)
        listener.run(second)
        assert first not in listener.ends

    def test_more_sequences_than_places_all_get_their_turn(self, listener):
        sequences = [ask(prompt(number, 5), 6) for number in range(2 * LIMITS.max_num_seqs + 1)]
        listener.run(*sequences)
        assert [len(listener.ids[sequence]) for sequence in sequences] == [6] * len(sequences)

    def test_a_prompt_longer_than_a_step_is_taken_in_chunks(self, listener):
        num_steps = listener.engine.stats().num_steps
        sequence = ask(prompt(3, 500), 4)
        listener.run(sequence)
        assert len(listener.ids[sequence]) == 4
        least = math.ceil(500 / LIMITS.max_num_batched_tokens) + 3
        listener.listen(lambda: listener.engine.stats().num_steps - num_steps >= least)  # it may count in its own time

    def test_a_prompt_seen_before_is_found_again_where_the_engine_knows(self, listener):
        first, second = ask(prompt(4, 100)), ask(prompt(4, 100))
        listener.run(first)
        if first not in listener.num_cached:
            pytest.skip("this engine does not say what it found")
        reused = listener.engine.stats().num_reused_blocks
        listener.run(second)
        listener.until_idle()
        assert listener.num_cached[first] == 0
        assert 0 < listener.num_cached[second] < 100
        assert listener.engine.stats().num_reused_blocks > reused
        assert listener.ids[second] == listener.ids[first]

    def test_a_queued_sequence_is_cancelled_and_the_others_go_on(self, listener, crowd):
        sequence = ask(prompt(9, 5), LONG)
        listener.submit(sequence)
        listener.until_queued(sequence)
        listener.engine.cancel(sequence)
        listener.until_ended(sequence)
        assert (listener.ids[sequence], listener.ends[sequence]) == ([], "cancelled")
        assert not any(other in listener.ends for other in crowd)
        assert listener.engine.stats().num_queued == 0

    def test_a_place_that_falls_free_is_filled(self, listener, crowd):
        waiting = ask(prompt(9, 5), 3)
        listener.submit(waiting)
        listener.engine.cancel(crowd[1])
        listener.until_ended(waiting)
        assert listener.ends == {crowd[1]: "cancelled", waiting: "length"}

    def test_a_sequence_is_cancelled_in_its_prompt(self, listener):
        sequence = ask(prompt(5, 500), LONG)
        listener.submit(sequence)
        listener.listen(lambda: listener.engine.stats().num_running == 1)
        listener.engine.cancel(sequence)
        listener.until_ended(sequence)
        assert listener.ends[sequence] == "cancelled"

    def test_a_running_sequence_is_cancelled_before_its_end(self, listener):
        sequence = ask(prompt(6, 5), LONG)
        listener.submit(sequence)
        listener.until_running(sequence)
        listener.engine.cancel(sequence)
        listener.engine.cancel(sequence)
        listener.until_ended(sequence)
        assert listener.ends[sequence] == "cancelled"
        assert len(listener.ids[sequence]) < LONG

    def test_a_cancelled_sequence_leaves_its_place_within_two_steps(self, listener):
        """By the engine's own count, as a rule: on a busy machine it may hear of one cancel late, but not of most."""
        neighbours = [ask(prompt(seed, 5), LONG) for seed in range(LIMITS.max_num_seqs - 1)]
        listener.submit(*neighbours)
        nums_steps = []
        for seed in range(10, 15):
            sequence = ask(prompt(seed, 5), LONG)
            listener.submit(sequence)
            listener.until_running(sequence)
            num_steps = listener.engine.stats().num_steps
            listener.engine.cancel(sequence)
            listener.until_ended(sequence)
            listener.listen(lambda: listener.engine.stats().num_running == len(neighbours))
            nums_steps.append(listener.engine.stats().num_steps - num_steps)
        assert sorted(nums_steps)[len(nums_steps) // 2] <= 2
        assert not any(other in listener.ends for other in neighbours)

    def test_a_sequence_is_cancelled_at_once(self, listener):
        sequence = ask(prompt(7, 100), LONG)
        listener.submit(sequence)
        listener.engine.cancel(sequence)
        listener.until_ended(sequence)
        assert listener.ends[sequence] == "cancelled"

    def test_cancelling_what_has_ended_or_never_was_changes_nothing(self, listener):
        ended, stranger, next_one = ask(self.question, 3), ask(self.question, 3), ask(self.question, 3)
        listener.run(ended)
        listener.engine.cancel(ended)
        listener.engine.cancel(stranger)
        listener.run(next_one)
        assert listener.ends == {ended: "length", next_one: "length"}

    def test_sequences_may_come_from_several_threads(self, listener):
        sequences = [ask(prompt(number, 5), 5) for number in range(8)]
        with ThreadPoolExecutor(4) as pool:
            done = pool.map(listener.submit, sequences)
            listener.until_ended(*sequences)
            assert list(done) == [None] * 8
        assert [len(listener.ids[sequence]) for sequence in sequences] == [5] * 8

    def test_what_is_submitted_wakes_a_wait_without_an_end(self, listener):
        listener.until_idle()
        sequence = ask(self.question, 1)
        submitter = threading.Timer(0.05, listener.submit, [sequence])
        submitter.start()
        while sequence not in listener.ends:
            for progress in listener.engine.wait(None):
                listener.hear(progress)
        submitter.join()
        assert listener.ends[sequence] == "length"

    def test_wait_comes_back_with_nothing_when_nothing_happens(self, engine, listener):
        assert (engine.wait(0), engine.wait(0.01)) == ([], [])

    def test_the_stats_tell_what_runs_and_what_is_held(self, listener, crowd):
        waiting = ask(prompt(9, 5), 3)
        listener.submit(waiting)
        listener.until_queued(waiting)
        listener.listen(lambda: listener.engine.stats().num_prefilling == 0)  # it may count in its own time
        stats = listener.engine.stats()
        assert (stats.num_running, stats.num_prefilling, stats.num_paused) == (LIMITS.max_num_seqs, 0, 0)
        assert 0 < stats.kv_cache_fraction < 1
        assert stats.num_steps > 0
        if stats.max_kv_blocks:  # an engine may not know; if it does, it knows the size too
            assert stats.max_kv_blocks * stats.kv_block_tokens == LIMITS.kv_cache_tokens

    @pytest.mark.parametrize("end", ["length", "stop", "cancelled"])
    def test_every_kind_of_end_gives_all_blocks_back(self, listener, end):
        sequence = ask(self.question, 40 if end == "length" else LONG)
        if end == "stop":
            free = ask(self.question)
            listener.run(free)
            sequence = ask(self.question, LONG, eos_ids=(listener.ids[free][-1],))
        listener.submit(sequence)
        if end == "cancelled":
            listener.until_running(sequence)
            listener.engine.cancel(sequence)
        listener.until_ended(sequence)
        assert listener.ends[sequence] == end
        listener.until_idle()

    def test_closing_wakes_the_reader_with_an_error_and_may_be_repeated(self, new_engine):
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(new_engine.wait, None)
            time.sleep(0.05)
            new_engine.close()
            with pytest.raises(EngineError):
                reader.result(PATIENCE_S)
        new_engine.close()
        with pytest.raises(EngineError):
            new_engine.wait(0)
        new_engine.submit(ask(self.question))  # too late, and of no consequence: `wait` says what there is to say
        new_engine.cancel(ask(self.question))

    def test_it_says_whether_a_model_is_behind_it(self, engine):
        assert engine.is_simulated in {True, False}
