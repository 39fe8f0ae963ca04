"""The pure half of the client: for every value, every cut and every parameter."""

import json
import struct
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from trident.contract import ENGINE, ENSEMBLE
from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident_client import Beam, Completion, Delta, PerfMetrics, Sampling
from trident_client.completion import assemble
from trident_client.json_format import EventSplitter, to_body, to_object
from trident_client.json_format import to_delta as json_delta
from trident_client.protobuf_format import new_decoders, to_delta, to_message
from trident_client.request import build_cancel, build_request
from trident_client.sampling import PARAMETERS
from trident_client.transport import is_loopback


def _response(text: bytes, *, is_final: bool = False, sequence_index: int = 0):
    response = service_pb2.ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = is_final
    index = struct.pack("<i", sequence_index)
    for name, raw in (("text_output", struct.pack("<I", len(text)) + text), ("sequence_index", index)):
        response.outputs.add(name=name)
        response.raw_output_contents.append(raw)
    return response


@given(st.text(min_size=1), st.data())
def test_text_cut_anywhere_in_its_bytes_is_joined_again(text, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    edges = list(zip([0, *cuts], [*cuts, len(raw)], strict=True))
    decoders = new_decoders()
    deltas = [to_delta(_response(raw[a:b], is_final=b == len(raw)), decoders) for a, b in edges]
    assert "".join(delta.text for delta in deltas) == text


def test_sequences_do_not_mix_their_incomplete_characters():
    decoders = new_decoders()
    pieces = [(b"\xc3", 0), (b"\xe6\x97", 1), (b"\xa9", 0), (b"\xa5", 1)]
    deltas = [to_delta(_response(raw, sequence_index=index), decoders) for raw, index in pieces]
    assert [(delta.text, delta.sequence_index) for delta in deltas] == [("", 0), ("", 1), ("é", 0), ("日", 1)]


def test_bytes_that_never_become_text_are_shown_as_such():
    assert to_delta(_response(b"a\xff", is_final=True), new_decoders()).text == "a\N{REPLACEMENT CHARACTER}"


@given(st.lists(st.dictionaries(st.text(), st.text())), st.data())
def test_events_are_found_however_the_stream_is_cut(events, data):
    raw = b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    splitter = EventSplitter()
    found = [
        to_object(event)
        for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)
        for event in splitter.feed(raw[a:b])
    ]
    assert found == events
    assert splitter.rest == b""


@given(st.text(), st.lists(st.text()), st.integers(0, 2**64 - 1))
def test_both_formats_carry_the_same_values(prompt, words, seed):
    sampling = Sampling(stop_words=words, seed=seed)
    request = build_request("id", "ensemble", prompt, sampling, is_streaming=True)
    body = json.loads(to_body(request))
    message = to_message(request)
    sent = {tensor.name: raw for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True)}
    assert body["id"] == message.id == "id"
    assert set(body) - {"id"} == set(sent)
    assert sent["seed"] == struct.pack("<Q", body["seed"])
    assert sent["text_input"][4:].decode() == body["text_input"] == prompt
    assert b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words) == sent.get(
        "stop_words", b""
    )
    assert body.get("stop_words", []) == words


# Inputs that are no parameters: the prompt in its forms and how it is answered, and names of before 0.20.
PROMPTS = {"text_input", "messages", "prompt_template", "prompt_variables", "stream"}
OLD_NAMES = {"min_length", "random_seed"}
# Outputs that are read together: a Delta's perf_metrics, and what has another name there.
RENAMED = {
    "text_output": "text", "reasoning_output": "reasoning",
    "output_log_probs": "log_probs", "cum_log_probs": "cum_log_prob",
}  # fmt: skip


def test_every_input_of_the_ensemble_can_be_sent():
    assert set(PARAMETERS) | PROMPTS | OLD_NAMES == {tensor.name for tensor in ENSEMBLE.inputs}
    assert not set(PARAMETERS) & (PROMPTS | OLD_NAMES)


def test_every_output_of_the_ensemble_has_its_place_in_a_delta():
    outputs = {RENAMED.get(tensor.name, tensor.name) for tensor in ENSEMBLE.outputs}
    assert outputs <= {field.name for field in (*fields(Delta), *fields(PerfMetrics))}


def _with(**outputs):
    """A last response with outputs of (datatype, shape, raw)."""
    response = _response(b"a", is_final=True)
    for name, (datatype, shape, raw) in outputs.items():
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    return to_delta(response, new_decoders())


def _strings(*words):
    return b"".join(struct.pack("<I", len(word)) + word for word in words)


def test_perf_metrics_come_as_numbers_or_as_text():
    delta = _with(
        arrival_time_ns=("INT64", [1, 1], struct.pack("<q", 5)),
        acceptance_rate=("BYTES", [1], _strings(b"0.5")),
        total_draft_tokens=("INT32", [1, 1], struct.pack("<i", 8)),
    )
    assert delta.perf_metrics == PerfMetrics(arrival_time_ns=5, acceptance_rate=0.5, total_draft_tokens=8)
    answer = {"text_output": "a", "arrival_time_ns": 5, "acceptance_rate": "0.5", "total_draft_tokens": 8}
    assert json_delta(answer).perf_metrics == delta.perf_metrics


def test_top_log_probs_are_rows_over_both_protocols():
    ids, values = ((1, 2), (3, 4)), ((-0.5, -1.0), (-2.0, -4.0))
    delta = _with(
        output_log_probs=("FP32", [1, 1, 2], struct.pack("<2f", -0.5, -2.0)),
        top_ids=("INT32", [1, 2, 2], struct.pack("<4i", 1, 2, 3, 4)),
        top_log_probs=("FP32", [1, 2, 2], struct.pack("<4f", -0.5, -1.0, -2.0, -4.0)),
    )
    assert (delta.top_ids, delta.top_log_probs, delta.log_probs) == (ids, values, (-0.5, -2.0))
    flat = {"output_log_probs": [-0.5, -2.0], "top_ids": [1, 2, 3, 4], "top_log_probs": [-0.5, -1.0, -2.0, -4.0]}
    from_json = json_delta({"text_output": "a", **flat})
    assert (from_json.top_ids, from_json.top_log_probs) == (ids, values)


def test_beams_are_told_with_their_scores_over_both_protocols():
    response = service_pb2.ModelInferResponse()
    for name, raw in (("text_output", _strings(b"best", b"next")), ("cum_log_probs", struct.pack("<2f", -1.0, -2.0))):
        response.outputs.add(name=name)
        response.raw_output_contents.append(raw)
    for delta in (
        to_delta(response, new_decoders(), is_last=True),
        json_delta({"text_output": ["best", "next"], "cum_log_probs": [-1.0, -2.0]}),
    ):
        assert (delta.text, delta.cum_log_prob, delta.beams) == ("best", -1.0, (Beam("best", -1.0), Beam("next", -2.0)))


def test_logits_are_an_array_without_the_batch():
    delta = _with(context_logits=("FP32", [1, 2, 3], struct.pack("<6f", *range(6))))
    assert delta.context_logits.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_matrix_is_sent_with_its_dims_and_over_http_refused():
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    request = build_request("id", "ensemble", "Hi", Sampling(lora_weights=rows), is_streaming=True)
    message = to_message(request)
    number = [tensor.name for tensor in message.inputs].index("lora_weights")
    assert (message.inputs[number].datatype, list(message.inputs[number].shape)) == ("FP16", [1, 2, 3])
    assert struct.unpack("<6e", message.raw_input_contents[number]) == (1, 2, 3, 4, 5, 6)
    assert request == build_request("id", "ensemble", "Hi", Sampling(lora_weights=np.array(rows)), is_streaming=True)
    with pytest.raises(UnsupportedParameterError, match=r"lora_weights is a matrix.*use gRPC"):
        to_body(request)
    with pytest.raises(InvalidRequestError, match="the rows of lora_weights differ in length"):
        build_request("id", "ensemble", "Hi", Sampling(lora_weights=[[1.0], [1.0, 2.0]]), is_streaming=True)


def test_a_cancel_has_every_tensor_that_the_engine_requires():
    required = {tensor.name for tensor in ENGINE.inputs if not tensor.optional}
    assert {tensor.name for tensor in build_cancel("id", "tensorrt_llm").inputs} == required | {"stop"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": 2**40},
        {"max_tokens": "8"},
        {"max_tokens": True},
        {"seed": -1},
        {"temperature": float("nan")},
        {"temperature": 1e39},
        {"exclude_input_in_output": 1},
        {"stop_words": [b"bytes"]},
        {"stop_words": "\ud800"},
    ],
)
def test_a_value_that_its_tensor_cannot_hold_is_refused_by_name(parameters):
    with pytest.raises(InvalidRequestError, match=next(iter(parameters))):
        build_request("id", "ensemble", "Hi", Sampling(**parameters), is_streaming=True)


@pytest.mark.parametrize("prompt", ["\ud800", [{"role": object()}], [{"content": "\ud800"}], 7])
def test_a_prompt_that_cannot_be_sent_is_refused(prompt):
    with pytest.raises(InvalidRequestError):
        build_request("id", "ensemble", prompt, Sampling(), is_streaming=True)


@pytest.mark.parametrize("count", [2, [2]])
def test_several_sequences_are_streamed_however_their_number_is_written(count):
    """Over HTTP `generate` carries one response only."""
    assert build_request("id", "ensemble", "Hi", Sampling(num_return_sequences=count), is_streaming=False).is_streaming


def test_a_completion_is_the_text_of_all_and_the_end_of_the_last():
    deltas = [Delta("a"), Delta("b"), Delta("", "length", 3, 2)]
    assert assemble("id", deltas) == Completion("id", "ab", "length", 3, 2)


def test_importing_the_client_loads_nothing_heavy():
    heavy = {"grpc", "httpx", "numpy", "tritonclient", "google.protobuf", "pydantic", "opentelemetry", "torch"}
    code = f"import sys, trident_client; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8001", True),
        ("http://127.8.9.1:8000/", True),
        ("grpc://LOCALHOST:8001", True),
        ("dns:///localhost:8001", True),
        ("[::1]:8001", True),
        ("http://localhost:8002/metrics", True),
        ("localhost.example.org:8001", False),
        ("http://127.0.0.1.example.org", False),
        ("http://192.168.0.1:8000", False),
    ],
)
def test_this_machine_is_known_by_its_address(url, expected):
    assert is_loopback(url) is expected
