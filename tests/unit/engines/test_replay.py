"""Promises of the replay engine on a clock that a test turns: times and ends are as they were asked for."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from tests.unit.engines.listener import Listener, ask, prompt
from tests.unit.engines.replay_engines import ANSWER, ENDLESS, STEP_S, TurnedClock, engine_of, heard
from tests.unit.manifests import MANIFEST
from trident.engines.load import check_runnable, load_engine
from trident.engines.replay import MAX_LAG_S
from trident.engines.replay_settings import FILE_NAME, ReplaySettings, read_replay_settings
from trident.engines.replay_timing import Timing, read_preset
from trident.errors import EngineError, ManifestError
from trident.manifest import EngineKind


def test_a_step_takes_what_the_timing_says_of_what_is_in_it():
    timing = Timing(base_ms=2.0, per_sequence_ms=0.5, per_context_token_us=10.0, prefill_tokens_per_s=1000.0)
    clock = TurnedClock()
    engine = engine_of(clock, timing)
    engine.submit(ask(prompt(1, 10), 3))
    engine.submit(ask(prompt(2, 20), 3))
    times = []
    for _ in range(3):
        before = clock.time
        assert len(engine.wait(None)) == 2
        times.append(1000 * (clock.time - before))
    # base + two sequences + context (10 us a token, the new ones included) + prefill (1 ms a token)
    assert times == pytest.approx([2 + 1 + 0.30 + 30, 2 + 1 + 0.32, 2 + 1 + 0.34])


def test_a_prompt_is_prefilled_in_chunks_beside_the_tokens_of_others():
    clock = TurnedClock()
    engine = engine_of(clock, max_num_batched_tokens=64)
    listener = Listener(engine)
    talker, reader = ask(prompt(1, 5), ENDLESS), ask(prompt(2, 200), ENDLESS)
    listener.submit(talker)
    listener.until_running(talker)
    start, said = clock.time, len(listener.ids[talker])
    listener.submit(reader)
    listener.until_running(reader)
    num_steps = round((clock.time - start) / STEP_S)
    assert num_steps == 4  # 63 tokens a step, for one is the talker's
    assert len(listener.ids[talker]) - said == num_steps


def test_who_comes_in_the_middle_of_a_step_joins_the_next():
    clock = TurnedClock()
    engine = engine_of(clock)
    listener = Listener(engine)
    first, second = ask(prompt(1, 5), ENDLESS), ask(prompt(2, 5), 1)
    start = clock.time
    listener.submit(first)
    assert engine.wait(0.4 * STEP_S) == []
    listener.run(second)
    assert clock.time - start == pytest.approx(2 * STEP_S)


def test_lateness_does_not_add_up():
    clock = TurnedClock(oversleep_s=0.2 * STEP_S)
    engine = engine_of(clock)
    engine.submit(ask(prompt(1, 5), ENDLESS))
    start = clock.time
    for _ in range(200):
        engine.wait(None)
    assert clock.time - start == pytest.approx(200 * STEP_S, abs=STEP_S)


def test_what_a_late_reader_missed_is_made_up_for():
    clock = TurnedClock()
    engine = engine_of(clock)
    engine.submit(ask(prompt(1, 5), ENDLESS))
    engine.wait(None)
    start = clock.time
    clock.time += 10.5 * STEP_S
    for _ in range(20):
        engine.wait(None)
    assert clock.time - start == pytest.approx(20 * STEP_S)


def test_a_reader_who_cannot_keep_up_gets_no_burst():
    clock = TurnedClock()
    engine = engine_of(clock)
    engine.submit(ask(prompt(1, 5), ENDLESS))
    engine.wait(None)
    clock.time += MAX_LAG_S + 2 * STEP_S
    start = clock.time
    engine.wait(None)
    assert clock.time == start  # the step that was over long ago
    for _ in range(10):
        engine.wait(None)
    assert clock.time - start == pytest.approx(10 * STEP_S)


def test_who_comes_late_joins_no_step_that_has_begun_before():
    clock = TurnedClock()
    engine = engine_of(clock)
    listener = Listener(engine)
    first, second = ask(prompt(1, 5), ENDLESS), ask(prompt(2, 5), 1)
    listener.submit(first)
    engine.wait(None)
    clock.time += 5.5 * STEP_S  # the engine has gone on meanwhile
    start = clock.time
    listener.run(second)
    assert clock.time - start == pytest.approx(1.5 * STEP_S)


def test_an_idle_engine_waits_without_a_timer():
    clock = TurnedClock()
    engine = engine_of(clock)
    threading.Timer(0.05, engine.close).start()
    with pytest.raises(EngineError, match="the replay engine is closed"):
        engine.wait(None)
    assert clock.sleeps == [None]


def test_jitter_stays_within_its_bounds_and_follows_the_seed():
    def step_times(seed):
        clock = TurnedClock()
        engine = engine_of(clock, jitter=0.2, seed=seed)
        engine.submit(ask(prompt(1, 5), ENDLESS))
        times = [clock.time]
        for _ in range(50):
            engine.wait(None)
            times.append(clock.time)
        return np.diff(times) / STEP_S

    times = step_times(seed=1)
    assert 0.8 <= times.min() < 0.9
    assert 1.1 < times.max() <= 1.2
    assert step_times(seed=1) == pytest.approx(times)
    assert step_times(seed=2) != pytest.approx(times)


@pytest.mark.parametrize(
    ("prompt_tokens", "answer_tokens", "num_requests", "published"), [(128, 128, 4000, 28_312), (2048, 128, 600, 3450)]
)
def test_the_h100_preset_comes_near_what_nvidia_publishes(prompt_tokens, answer_tokens, num_requests, published):
    """Tokens/s at maximum load; TensorRT-LLM 1.0, docs/source/performance/perf-overview.md, Llama 3.1 8B, H100, FP8."""
    clock = TurnedClock()
    timing = read_preset("h100-llama-8b-fp8")
    engine = engine_of(clock, timing, max_num_seqs=2048, max_num_batched_tokens=8192, num_blocks=28_125)
    for number in range(num_requests):
        engine.submit(ask(prompt(number, prompt_tokens), answer_tokens))
    start, num_open = clock.time, num_requests
    while num_open:
        num_open -= sum(progress.end is not None for progress in engine.wait(None))
    assert num_requests * answer_tokens / (clock.time - start) == pytest.approx(published, rel=0.1)


def test_an_answer_ends_by_itself_after_the_median_when_there_is_no_deviation():
    engine = engine_of(stop_median_tokens=7)
    bound, free = ask(prompt(1, 5), 20, eos_ids=(2, 0)), ask(prompt(1, 5), 20)
    listener = heard(engine, bound, free)
    assert (listener.ids[bound], listener.ends[bound]) == ([*ANSWER[:6], 2], "stop")
    assert (len(listener.ids[free]), listener.ends[free]) == (20, "length")


@pytest.mark.parametrize(("min_tokens", "max_tokens", "expected"), [(9, 20, (10, "stop")), (9, 9, (9, "length"))])
def test_no_answer_ends_by_itself_before_min_tokens(min_tokens, max_tokens, expected):
    engine = engine_of(stop_median_tokens=3)
    sequence = ask(prompt(1, 5), max_tokens, min_tokens=min_tokens, eos_ids=(2,))
    listener = heard(engine, sequence)
    assert (len(listener.ids[sequence]), listener.ends[sequence]) == expected


def test_an_eos_id_that_is_said_ends_the_answer_in_its_next_round_if_it_must():
    engine = engine_of()
    sequence = ask(prompt(1, 5), ENDLESS, min_tokens=60, eos_ids=(ANSWER[10], ANSWER[3]))
    listener = heard(engine, sequence)
    assert (len(listener.ids[sequence]), listener.ids[sequence][-1]) == (61, ANSWER[10])


def test_lengths_are_spread_around_the_median_and_follow_the_seed():
    def lengths(seed):
        engine = engine_of(stop_median_tokens=50, stop_sigma=0.7, seed=seed)
        sequences = [ask(prompt(1, 5), ENDLESS, eos_ids=(2,)) for _ in range(200)]
        listener = heard(engine, *sequences)
        return [len(listener.ids[sequence]) for sequence in sequences]

    found = lengths(seed=1)
    assert np.median(found) == pytest.approx(50, rel=0.2)
    assert np.std(np.log(found)) == pytest.approx(0.7, rel=0.2)
    assert lengths(seed=1) == found != lengths(seed=2)


def test_the_settings_are_read_back_as_they_were_written(tmp_path):
    written = ReplaySettings(
        preset='a "b"', seed=3, jitter=0.1, stop_sigma=0.5, answer_ids=(1, 2), timing=read_preset("constant-200")
    )
    (tmp_path / FILE_NAME).write_text(written.to_toml())
    assert read_replay_settings(tmp_path) == written
    assert math.isinf(written.timing.prefill_tokens_per_s)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("jitter", "jiter", r"unknown key 'jiter'; did you mean 'jitter'\?"),
        ("base_ms", "base", r"unknown key 'timing.base'; did you mean 'base_ms'\?"),
        ("base_ms = 5.0", "base_ms = 0", "timing.base_ms: Input should be greater than 0, got 0"),
        ("answer_ids = [1]", "answer_ids = []", "answer_ids: Tuple should have at least 1 item"),
        ("seed = 0", "seed = ", "is not TOML"),
    ],
)
def test_settings_that_are_wrong_are_one_line(tmp_path, old, new, problem):
    text = ReplaySettings(preset="x", answer_ids=(1,), timing=read_preset("constant-200")).to_toml()
    assert old in text
    (tmp_path / FILE_NAME).write_text(text.replace(old, new))
    with pytest.raises(ManifestError, match=problem):
        read_replay_settings(tmp_path)


def test_an_engine_directory_of_its_kind_is_loaded(tmp_path):
    manifest = MANIFEST.model_copy(update={"kind": EngineKind.REPLAY})
    check_runnable(manifest)
    with pytest.raises(ManifestError, match=r"replay.toml cannot be read: No such file or directory; build the engine"):
        load_engine(tmp_path, manifest)
    text = ReplaySettings(preset="x", answer_ids=(7,), timing=read_preset("constant-200")).to_toml()
    (tmp_path / FILE_NAME).write_text(text)
    engine = load_engine(tmp_path, manifest)
    sequence = ask([1, 2], 2)
    assert heard(engine, sequence).ids[sequence] == [7, 7]
    assert engine.is_simulated
    engine.close()
