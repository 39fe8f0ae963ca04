"""Promises of what the engine model gathers about its requests."""

from __future__ import annotations

import dataclasses
import random
import threading

import pytest

from trident import errors
from trident.engines.telemetry import MAX_OBSERVATIONS, REJECTIONS, Measure, RequestRecord, Telemetry, rejection_of

RECORD = RequestRecord(
    finish_reason="length",
    num_input_tokens=100,
    num_output_tokens=5,
    num_cached_tokens=64,
    queue_s=0.25,
    first_token_s=0.5,
    total_s=2.5,
    priority=3,
    lora_name=None,
)


def drawn(telemetry: Telemetry) -> dict[Measure, list[float]]:
    return {measure: draw.values for measure, draw in telemetry.take().drawn.items() if draw.values}


def test_a_sequence_that_ended_is_counted_with_its_tokens():
    telemetry = Telemetry()
    telemetry.request_ended(RECORD)
    telemetry.request_ended(dataclasses.replace(RECORD, num_cached_tokens=None, finish_reason="cancelled", priority=1))
    snapshot = telemetry.take()
    assert snapshot.requests == {("length", 3, "none"): 1, ("cancelled", 1, "none"): 1}
    assert snapshot.prompt_tokens == {"none": 200}
    assert snapshot.generated_tokens == {"none": 10}
    assert snapshot.num_cached_tokens == 64


def test_cached_tokens_of_an_engine_that_does_not_know_them_are_not_zero():
    telemetry = Telemetry()
    telemetry.request_ended(dataclasses.replace(RECORD, num_cached_tokens=None))
    assert telemetry.take().num_cached_tokens is None
    telemetry.request_ended(dataclasses.replace(RECORD, num_cached_tokens=0))
    assert telemetry.take().num_cached_tokens == 0


def test_its_times_are_measured_from_arrival_and_by_the_token():
    """Five tokens, the first after 0.5 s, the end after 2.5 s: half a second for each of the other four."""
    telemetry = Telemetry()
    telemetry.request_ended(RECORD)
    assert drawn(telemetry) == {
        Measure.QUEUE_S: [0.25],
        Measure.FIRST_TOKEN_S: [0.5],
        Measure.REQUEST_S: [2.5],
        Measure.OUTPUT_TOKEN_S: [0.5],
        Measure.NUM_INPUT_TOKENS: [100],
        Measure.NUM_OUTPUT_TOKENS: [5],
    }


@pytest.mark.parametrize("finish_reason", ["cancelled", "timeout", "error"])
def test_a_sequence_that_was_cut_off_tells_only_how_long_it_waited(finish_reason):
    telemetry = Telemetry()
    telemetry.request_ended(dataclasses.replace(RECORD, finish_reason=finish_reason))
    telemetry.request_ended(dataclasses.replace(RECORD, finish_reason=finish_reason, first_token_s=None))
    assert drawn(telemetry) == {Measure.QUEUE_S: [0.25, 0.25], Measure.FIRST_TOKEN_S: [0.5]}


@pytest.mark.parametrize("changes", [{"num_output_tokens": 1}, {"num_output_tokens": 0}, {"first_token_s": None}])
def test_a_pace_needs_two_tokens_that_came_one_after_the_other(changes):
    telemetry = Telemetry()
    telemetry.request_ended(dataclasses.replace(RECORD, **changes))
    assert Measure.OUTPUT_TOKEN_S not in drawn(telemetry)


def test_responses_say_how_many_tokens_left_together_and_the_time_by_the_token():
    telemetry = Telemetry()
    telemetry.response(1, None)
    telemetry.response(4, 0.2)
    telemetry.response(1, 0.3)
    telemetry.response(0, 0.1)  # the end of a stream, without a token
    snapshot = telemetry.take()
    assert snapshot.num_responses == 4
    assert snapshot.num_coalesced_tokens == 4
    assert snapshot.drawn[Measure.INTER_TOKEN_S].values == [0.05, 0.3]


def test_what_was_taken_is_not_given_again():
    telemetry = Telemetry()
    telemetry.request_ended(RECORD)
    telemetry.response(2, 0.1)
    telemetry.rejected(errors.QueueFullError("full"))
    telemetry.take()
    snapshot = telemetry.take()
    counts = (snapshot.requests, snapshot.rejected, snapshot.prompt_tokens, snapshot.generated_tokens)
    assert not any(counts)
    assert (snapshot.num_responses, snapshot.num_coalesced_tokens, snapshot.num_cached_tokens) == (0, 0, None)
    assert not any(draw.num_added for draw in snapshot.drawn.values())


def test_only_adapters_of_the_engine_become_labels():
    """A name from a request must never make a series of its own."""
    telemetry = Telemetry(["french"])
    for name in ("french", "made-up", "none", None):
        telemetry.request_ended(dataclasses.replace(RECORD, lora_name=name))
    assert telemetry.take().generated_tokens == {"french": 5, "none": 15}


def test_every_error_has_a_reason_and_the_reasons_are_few():
    leaves = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.TridentError)]
    assert {rejection_of(cls.__new__(cls)) for cls in leaves} == set(REJECTIONS.values())
    telemetry = Telemetry()
    for error in (errors.PromptTooLongError("x"), errors.InvalidRequestError("x"), errors.EngineError("x")):
        telemetry.rejected(error)
    assert telemetry.take().rejected == {"too_long": 1, "invalid": 1, "internal": 1}


def test_up_to_the_bound_every_value_is_kept_and_beyond_it_the_rest_is_counted():
    telemetry = Telemetry()
    for number in range(MAX_OBSERVATIONS):
        telemetry.response(1, float(number))
    full = telemetry.take().drawn[Measure.INTER_TOKEN_S]
    assert (full.values, full.num_dropped) == ([float(number) for number in range(MAX_OBSERVATIONS)], 0)
    for number in range(MAX_OBSERVATIONS + 7):
        telemetry.response(1, float(number))
    beyond = telemetry.take().drawn[Measure.INTER_TOKEN_S]
    assert (len(beyond.values), beyond.num_dropped) == (MAX_OBSERVATIONS, 7)


def test_of_many_values_every_one_has_the_same_chance():
    """Early, middle and late values of a thousand are kept alike, over many rounds."""
    telemetry = Telemetry(uniform=random.Random(1).random)
    thirds = [0, 0, 0]
    rounds = 300
    for _ in range(rounds):
        for number in range(1000):
            telemetry.response(1, float(number))
        for value in telemetry.take().drawn[Measure.INTER_TOKEN_S].values:
            thirds[min(2, int(value * 3 / 1000))] += 1
    assert thirds == pytest.approx([rounds * MAX_OBSERVATIONS / 3] * 3, rel=0.05)


def test_nothing_is_lost_or_doubled_while_threads_count_and_another_takes():
    telemetry = Telemetry()
    taken = []

    def count():
        for _ in range(2000):
            telemetry.rejected(errors.QueueFullError("full"))
            telemetry.response(2, 0.1)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(telemetry.take())
        threads[0].join(0.001)
    taken.append(telemetry.take())
    assert sum(snapshot.rejected["queue_full"] for snapshot in taken) == 6000
    assert sum(snapshot.num_responses for snapshot in taken) == 6000
    assert sum(snapshot.drawn[Measure.INTER_TOKEN_S].num_added for snapshot in taken) == 6000
