"""The events of a streamed response: OpenAI's own types take each, in OpenAI's order, and they make one response."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from trident.gateway.edge.errors import ApiError
from trident.gateway.openai_api.response_events import ResponseEvents
from trident.gateway.openai_api.response_request import read_response, response_object
from trident_client.completion import Delta, as_deltas, assemble
from trident_client.openai_tools import ForcedCalls

EVENT = TypeAdapter(ResponseStreamEvent)
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def events_of(forced=None):
    begun = response_object(read_response({"model": "m", "input": "x"}), "resp_" + "0a" * 16, 1)
    return ResponseEvents(begun, "id", forced, clock=lambda: 2.0)


def parsed(data):
    """Every event, checked by OpenAI's types, and that its name is its type."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, payload = block.split("\n")
        event = json.loads(payload.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        EVENT.validate_python(event)
        found.append(event)
    return found


def stream(*deltas, forced=None):
    events = events_of(forced)
    data = events.begin() + b"".join(events.of(delta) for delta in deltas) + events.end()
    return parsed(data), events.response


def test_a_text_is_told_in_openais_order():
    told, response = stream(Delta("Hel"), Delta("lo", "stop", 3, 2, 1))
    assert [event["type"] for event in told] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert told[-1]["response"] == response
    assert (response["status"], response["completed_at"]) == ("completed", 2)
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 1
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (3, 2)


def test_tokens_come_with_their_probabilities_and_the_likeliest_others():
    delta = Delta("a", log_probs=(-0.5,), token_texts=(b"a",), top_ids=((7, 8),), top_log_probs=((-0.5, -1.0),))
    events = events_of()
    told = parsed(
        events.begin() + events.of(delta, {7: b"a", 8: b"\xff"}) + events.of(Delta("", "stop")) + events.end()
    )
    (token,) = events.response["output"][0]["content"][0]["logprobs"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("a", -0.5, [97])
    assert [(each["bytes"], each["logprob"]) for each in token["top_logprobs"]] == [([97], -0.5), ([255], -1.0)]
    assert next(event for event in told if event["type"] == "response.output_text.delta")["logprobs"] == [token]


def test_reasoning_text_and_calls_are_items_of_their_own():
    told, response = stream(Delta("", reasoning="hm"), Delta("I add."), Delta("", "tool_calls", tool_calls=(CALL,)))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert [item["status"] for item in response["output"]] == ["completed"] * 3
    assert response["output"][2]["arguments"] == '{"a": 1}'
    assert len({item["id"] for item in response["output"]}) == 3
    kinds = [event["type"] for event in told]
    assert kinds.index("response.reasoning_text.done") < kinds.index("response.output_text.delta")
    assert "response.function_call_arguments.done" in kinds


def test_forced_calls_are_calls_and_no_text():
    text = '[{"name": "add", "parameters": {"a": 1}}, {"name": "sub", "parameters": {}}]'
    _, response = stream(*[Delta(char) for char in text], Delta("", "stop"), forced=ForcedCalls())
    found = [(item["type"], item["name"], item["arguments"]) for item in response["output"]]
    assert found == [("function_call", "add", '{"a": 1}'), ("function_call", "sub", "{}")]


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("cancelled", "cancelled", None),
    ],
)
def test_the_end_says_why(reason, status, why):
    told, response = stream(Delta("a", reason))
    assert (response["status"], response["incomplete_details"]) == (status, why)
    assert told[-1]["type"] == ("response.completed" if reason == "stop" else "response.incomplete")
    assert response["output"][0]["status"] == ("completed" if reason == "stop" else "incomplete")


def test_an_answer_of_nothing_has_an_empty_message():
    _, response = stream(Delta("", "stop"))
    assert response["output"][0]["content"][0]["text"] == ""


@pytest.mark.parametrize(
    ("status", "code"), [(500, "server_error"), (429, "rate_limit_exceeded"), (400, "invalid_prompt")]
)
def test_a_failure_in_mid_stream_is_an_error_and_a_failed_response(status, code):
    """What had come of the answer is kept."""
    events = events_of()
    data = events.begin() + events.of(Delta("par")) + events.fail(ApiError(status, "it broke"))
    *_, error, failed = parsed(data)
    assert {"type", "code", "message", "param", "sequence_number"} <= error.keys()
    assert failed["type"] == "response.failed"
    assert (events.response["status"], events.response["error"]) == ("failed", {"code": code, "message": "it broke"})
    assert events.response["output"][0]["content"][0]["text"] == "par"


def test_a_client_that_leaves_leaves_a_cancelled_response():
    """But one that left after the end changes nothing."""
    events = events_of()
    events.of(Delta("par"))
    events.leave()
    assert events.response["status"] == "cancelled"
    _, whole = stream(Delta("a", "stop"))
    events = events_of()
    events.of(Delta("a", "stop"))
    events.end()
    events.leave()
    assert events.response == whole


TEXTS = st.lists(st.text(alphabet="ab é\n", max_size=5), min_size=1, max_size=6)


@given(TEXTS, st.sampled_from(["stop", "length"]), st.booleans())
def test_the_deltas_make_the_response_and_so_does_the_whole_answer(texts, reason, has_reasoning):
    """However the answer came."""
    deltas = [Delta(text, reasoning="hm" if has_reasoning and number == 0 else "") for number, text in enumerate(texts)]
    deltas.append(Delta("", reason, 3, 4, 0))
    told, response = stream(*deltas)
    assert Response.model_validate(response).output_text == "".join(texts)
    assert "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta") == "".join(texts)
    whole = events_of()
    whole.of(*as_deltas(assemble("id", deltas)))
    whole.end()
    assert whole.response == response
