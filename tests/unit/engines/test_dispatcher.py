"""Promises between the engine and the asker: order, one end, no lost token, slots freed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.unit.engines.scripted_engine import generation
from tests.unit.engines.served import DETOKENIZER, TOKENIZER, Served
from trident.engines.base import Beam, State
from trident.engines.dispatcher import AHEAD
from trident.errors import (
    EngineError,
    InvalidRequestError,
    RequestCancelledError,
    UnavailableError,
)
from trident.text.text_options import TextOptions


def test_every_token_is_its_own_response_when_sending_is_cheap(served):
    reply = served.submit()
    (sequence,) = served.engine.submitted
    for token_id in (11, 12, 13):
        served.engine.step((sequence, [token_id]))
        reply.wait(token_id - 10)
    served.engine.step((sequence, [14], "length"))
    reply.wait()
    assert [chunk.output_ids for chunk, _ in reply.chunks] == [[11], [12], [13], [14]]
    assert [is_final for _, is_final in reply.chunks] == [False, False, False, True]
    assert [chunk.finish_reason for chunk, _ in reply.chunks] == ["", "", "", "length"]
    assert reply.chunks[-1][0].num_input_tokens == 3
    assert reply.chunks[-1][0].num_output_tokens == 4


def test_the_window_holds_the_ids_before(served):
    reply = served.submit()
    (sequence,) = served.engine.submitted
    for token_id in range(20, 26):
        served.engine.step((sequence, [token_id], "stop" if token_id == 25 else None))
    reply.wait()
    text = "".join(DETOKENIZER.delta(chunk.context_ids, chunk.output_ids, is_final) for chunk, is_final in reply.chunks)
    assert text == DETOKENIZER.decode(range(20, 26))


def test_without_stream_there_is_exactly_one_response(served):
    reply = served.submit(generation(is_streaming=False, exclude_input=False))
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    served.engine.step((sequence, [12], "stop"))
    reply.wait()
    ((chunk, is_final),) = reply.chunks
    assert (chunk.output_ids, chunk.finish_reason, is_final) == ([5, 6, 7, 11, 12], "stop", True)


def test_the_end_of_a_batch_is_on_the_last_response_of_the_last_row(served):
    reply = served.submit(generation(is_alone=False), generation(is_alone=False, batch_index=1))
    first, second = served.engine.submitted
    served.engine.step((first, [11], "stop"), (second, [21]))
    reply.wait(2)
    served.engine.step((second, [22], "length"))
    reply.wait()
    assert [(chunk.batch_index, is_final) for chunk, is_final in reply.chunks] == [(0, False), (1, False), (1, True)]


def test_tokens_are_merged_while_they_wait_and_none_is_lost():
    served = Served(max_delay_s=30.0, is_lagging=True)
    reply = served.submit()
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    reply.wait(1)
    for token_id in range(12, 20):
        served.engine.step((sequence, [token_id]))
    served.engine.step((sequence, [20], "length"))
    reply.wait()
    served.dispatcher.close()
    assert [chunk.output_ids for chunk, _ in reply.chunks] == [[11], list(range(12, 21))]


def test_a_merged_token_waits_no_longer_than_the_bound():
    served = Served(max_delay_s=0.05, is_lagging=True)
    reply = served.submit()
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    reply.wait(1)
    served.engine.step((sequence, [12]))
    reply.wait(2)  # no further step comes: the timer sends it
    served.dispatcher.close()
    assert reply.ids == [11, 12]


def test_a_stop_word_ends_the_generation_in_the_engine_too(served):
    ids = TOKENIZER.encode("honey, said the teacher").ids
    reply = served.submit(generation(stop_strings=(b" said",)))
    (sequence,) = served.engine.submitted
    for token_id in ids:
        served.engine.step((sequence, [token_id]))
    reply.wait()
    last = reply.chunks[-1][0]
    assert last.finish_reason == "stop"
    assert served.engine.cancelled == [sequence]
    assert DETOKENIZER.delta([], reply.ids, is_last=True, trim_bytes=last.trim_bytes) == "honey,"


def test_cancel_ends_the_request_with_what_it_has(served):
    reply = served.submit(generation(), generation(), request_id="a")
    served.engine.step((served.engine.submitted[0], [11]))
    reply.wait(1)
    served.dispatcher.cancel("a")
    reply.wait()
    assert [chunk.finish_reason for chunk, _ in reply.chunks] == ["", "cancelled", "cancelled"]
    assert served.engine.cancelled == served.engine.submitted


def test_a_cancel_that_overtakes_its_request_still_ends_it(served):
    served.dispatcher.cancel("early")
    assert served.submit(request_id="early").wait().chunks[-1][0].finish_reason == "cancelled"


def test_an_asker_who_left_is_noticed_without_a_word(served):
    reply = served.submit()
    reply.is_gone = True
    served.engine.step()
    assert reply.wait().chunks[-1][0].finish_reason == "cancelled"


def test_a_live_id_cannot_be_used_again_until_it_has_ended(served):
    reply = served.submit(request_id="same")
    with pytest.raises(InvalidRequestError, match="same"):
        served.submit(request_id="same")
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    reply.wait()
    served.submit(request_id="same")


def test_one_failed_row_ends_its_request_and_no_other(served):
    failing, other = served.submit(generation(), generation()), served.submit()
    first, second, third = served.engine.submitted
    served.engine.step((first, [], EngineError("out of cache")), (second, [21]), (third, [31], "stop"))
    assert isinstance(failing.wait().error, EngineError)
    assert other.wait().ids == [31]
    assert second in served.engine.cancelled


def test_a_dead_engine_ends_every_request_with_an_error_and_is_reported(served):
    replies = [served.submit(), served.submit()]
    served.engine.die()
    assert served.gone.wait(10)
    assert all(isinstance(reply.error, EngineError) for reply in replies)
    with pytest.raises(UnavailableError):
        served.submit()


def test_a_late_cancel_does_not_end_the_next_request_with_the_same_id(served):
    first = served.submit(request_id="again")
    served.engine.step((served.engine.submitted[0], [1], "stop"))
    first.wait()
    served.dispatcher.cancel("again")
    second = served.submit(request_id="again")
    served.engine.step((served.engine.submitted[1], [2], "stop"))
    assert second.wait().ids == [2]


def test_closing_ends_every_request_as_cancelled_and_is_not_a_failure(served):
    reply = served.submit()
    served.dispatcher.close()
    assert isinstance(reply.error, RequestCancelledError)
    assert not served.gone.is_set()


def test_log_probs_stay_with_their_ids_when_a_stop_word_holds_some_back(served):
    ids = TOKENIZER.encode("honey, said the teacher").ids
    request = replace(generation().engine_request, wants_log_probs=True)
    reply = served.submit(generation(engine_request=request, stop_strings=(b" said",)))
    (sequence,) = served.engine.submitted
    for place, token_id in enumerate(ids):
        served.engine.step((sequence, [token_id], None, [-float(place)]))
    reply.wait()
    for chunk, _ in reply.chunks:
        assert len(chunk.log_probs) == len(chunk.output_ids)
    log_probs = [value for chunk, _ in reply.chunks for value in chunk.log_probs]
    assert log_probs == [-float(place) for place in range(len(reply.ids))]
    assert reply.chunks[-1][0].cum_log_prob == sum(log_probs)


def test_beams_come_in_one_response_with_the_end(served):
    request = replace(generation().engine_request, beam_width=2)
    reply = served.submit(generation(engine_request=request))
    beams = (Beam([11, 12], -0.5), Beam([13], -0.7))
    served.engine.step((served.engine.submitted[0], [], "stop", None, None, beams))
    ((chunk, is_final),) = reply.wait().chunks
    assert (chunk.beams, chunk.num_output_tokens, is_final) == (beams, 2, True)


def test_what_needs_the_whole_completion_gets_all_ids_before(served):
    reply = served.submit(generation(text_options=TextOptions(tool_parser="hermes")))
    (sequence,) = served.engine.submitted
    for token_id in range(20, 30):
        served.engine.step((sequence, [token_id], "stop" if token_id == 29 else None))
        reply.wait(token_id - 19)
    assert [chunk.context_ids for chunk, _ in reply.chunks] == [list(range(20, end)) for end in range(20, 30)]


def test_the_life_of_a_sequence():
    served = Served(max_queued=64, max_running=1)
    replies = [served.submit() for _ in range(2 + AHEAD)]
    first, *_ = served.engine.submitted
    assert first.state is State.PREFILLING
    served.engine.step((first, [11]))
    replies[0].wait(1)
    assert first.state is State.RUNNING
    served.engine.step((first, [12], "length"))
    replies[0].wait()
    assert first.state is State.FINISHED
    served.dispatcher.close()


def test_a_simulated_engine_says_so_in_the_report(served):
    served.engine.is_simulated = True
    reply = served.submit(generation(report=b'{"truncated_tokens": 3}'))
    served.engine.step((served.engine.submitted[0], [11], "stop"))
    assert json.loads(reply.wait().chunks[-1][0].report) == {"truncated_tokens": 3, "simulated": True}


def test_timings_are_given_when_asked_for_and_in_order(served):
    reply = served.submit(generation(wants_perf_metrics=True))
    (sequence,) = served.engine.submitted
    served.engine.step((sequence, [11]))
    served.engine.step((sequence, [12], "stop"))
    timings = reply.wait().chunks[-1][0].timings
    assert timings.arrival <= timings.first_scheduled <= timings.first_token <= timings.last_token
