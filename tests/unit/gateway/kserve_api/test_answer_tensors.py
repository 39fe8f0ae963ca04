"""Deltas written as tensors are what Triton would have sent: our own client reads them as the deltas they were."""

from dataclasses import replace

import pytest
from tritonclient.grpc import service_pb2

from trident.gateway.kserve_api.answer_tensors import tensors_of, with_echo
from trident.gateway.kserve_api.asked_tensors import AskedTensors
from trident.gateway.kserve_api.protobuf import response_of
from trident_client.completion import Beam, Completion, Delta, PerfMetrics, as_deltas
from trident_client.protobuf_format import is_final, new_decoders, to_delta
from trident_client.sampling import Sampling

ASKED = AskedTensors("Hello", Sampling(), is_streaming=True)
SCORED = Delta(
    " there",
    log_probs=(-0.5, -0.25),
    cum_log_prob=-0.75,
    token_texts=(b" the", b"\xf0\x9f"),
    top_ids=((5, 6), (7, 8)),
    top_log_probs=((-0.5, -1.0), (-0.25, -2.0)),
)
LAST = Delta(
    "!",
    "tool_calls",
    num_input_tokens=4,
    num_output_tokens=9,
    num_cached_tokens=2,
    reasoning="so",
    tool_calls=({"type": "function", "function": {"name": "f", "arguments": "{}"}},),
    perf_metrics=PerfMetrics(arrival_time_ns=2**40, acceptance_rate=0.5),
    report={"truncated": True},
)
BEAMS = Delta("one", "stop", beams=(Beam("one", -1.0), Beam("two", -2.0)), cum_log_prob=-1.0)


def read_back(delta, asked=ASKED, *, is_last=True):
    request = service_pb2.ModelInferRequest(model_name="m", id="r")
    response = response_of(request, tensors_of(delta, asked), is_last=is_last)
    assert (response.model_name, response.id, is_final(response)) == ("m", "r", is_last)
    return to_delta(response, new_decoders())


@pytest.mark.parametrize("delta", [Delta(" there"), Delta("é", sequence_index=0), SCORED, LAST, BEAMS])
def test_a_delta_is_read_back_as_it_was(delta):
    """Every field that the client has."""
    assert read_back(delta) == delta


def test_sequences_are_told_apart_in_every_response():
    """Where there are several."""
    asked = replace(ASKED, sampling=Sampling(num_return_sequences=2))
    assert read_back(Delta(" there", sequence_index=1), asked, is_last=False).sequence_index == 1


def test_what_is_not_wanted_is_left_out():
    """In the midst of a stream and at its end."""
    asked = replace(ASKED, unwanted=frozenset({"text_output", "num_output_tokens", "report"}))
    assert tensors_of(Delta(" there"), asked) == []
    names = {tensor.name for tensor in tensors_of(LAST, asked)}
    assert not names & asked.unwanted
    assert {"finish_reason", "num_input_tokens"} <= names


def test_a_whole_answer_has_a_delta_for_each_sequence():
    """With the text behind the prompt, where the client wants that."""
    second = Completion("r", "two", "length", 3, 2)
    deltas = as_deltas(Completion("r", "one", "stop", 3, 1, others=(second,)))
    assert [(each.sequence_index, each.text, each.finish_reason) for each in deltas] == [
        (0, "one", "stop"),
        (1, "two", "length"),
    ]
    assert with_echo(deltas[0], replace(ASKED, echo="Say ")).text == "Say one"
    assert [beam.text for beam in with_echo(BEAMS, replace(ASKED, echo="> ")).beams] == ["> one", "> two"]
