"""Streamed events are pure functions of deltas, and what they say in all is what the whole answer says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.gateway.edge.errors import ApiError
from trident.gateway.openai_api.events import DONE, ChatEvents, CompletionEvents, StreamHead, error_event
from trident_client.completion import Delta, assemble
from trident_client.openai_request import OpenAIRequest
from trident_client.openai_response import chat_body
from trident_client.openai_tools import ForcedCalls
from trident_client.sampling import Sampling

HEAD = StreamHead("r", 'm\u2028"x', 17, "fp_1")


def asked(**fields):
    return OpenAIRequest(prompts=("x",), sampling=Sampling(), **fields)


def parsed(data):
    events = data.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: ") for event in events)
    return [event if event == DONE.strip() else json.loads(event[6:]) for event in events]


def chunks_of(events, *deltas):
    data = b"".join(events.of(0, delta) for delta in deltas) + events.end()
    found = parsed(data)
    assert found.pop() == DONE.strip()
    return found


def test_every_chunk_has_the_same_head():
    chunks = chunks_of(ChatEvents(HEAD, asked()), Delta("a"), Delta("b", "stop"))
    for chunk in chunks:
        assert {key: chunk[key] for key in chunk if key != "choices"} == {
            "id": "chatcmpl-r",
            "object": "chat.completion.chunk",
            "created": 17,
            "model": 'm\u2028"x',
            "system_fingerprint": "fp_1",
        }


def test_a_chat_begins_with_its_role_and_ends_with_its_reason():
    choices = [chunk["choices"][0] for chunk in chunks_of(ChatEvents(HEAD, asked()), Delta("a"), Delta("b", "stop"))]
    assert [(each["delta"], each["finish_reason"]) for each in choices] == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "a"}, None),
        ({"content": "b"}, None),
        ({}, "stop"),
    ]


def test_with_usage_every_chunk_has_a_null_and_one_more_chunk_the_sum():
    events = ChatEvents(HEAD, asked(includes_usage=True))
    first = Delta("a", "stop", 3, 2, 1)
    second = Delta("b", "length", 3, 4, 1, sequence_index=1)
    *chunks, last = chunks_of(events, first, second)
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (
        3,
        6,
        9,
    )
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


def test_choices_interleave_by_their_index():
    deltas = [Delta("a"), Delta("x", sequence_index=1), Delta("b", "stop"), Delta("y", "stop", sequence_index=1)]
    texts, roles = {0: "", 1: ""}, []
    for chunk in chunks_of(ChatEvents(HEAD, asked(num_choices=2)), *deltas):
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        roles += [choice["index"]] if "role" in choice["delta"] else []
    assert (texts, roles) == ({0: "ab", 1: "xy"}, [0, 1])


def test_reasoning_and_calls_of_the_model_s_own_have_their_fields():
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    deltas = [Delta("", reasoning="hm"), Delta("", "tool_calls", tool_calls=(call,))]
    found = [chunk["choices"][0]["delta"] for chunk in chunks_of(ChatEvents(HEAD, asked()), *deltas)]
    assert found[1:] == [{"reasoning_content": "hm"}, {"tool_calls": [call]}, {}]


def test_log_probabilities_come_with_the_text_of_their_tokens():
    delta = Delta("hü", log_probs=(-0.5, -1.0), token_texts=(b"h", "ü".encode()))
    chunk = chunks_of(ChatEvents(HEAD, asked()), delta)[1]
    content = chunk["choices"][0]["logprobs"]["content"]
    assert [(each["token"], each["logprob"], each["bytes"]) for each in content] == [
        ("h", -0.5, [104]),
        ("ü", -1.0, [0xC3, 0xBC]),
    ]


def test_a_forced_call_has_its_id_and_name_once_and_its_arguments_in_pieces():
    events = ChatEvents(HEAD, asked(forced=ForcedCalls()))
    deltas = [Delta('[{"name": "f", "para'), Delta('meters": {"a"'), Delta(": 1}}]", "stop")]
    chunks = chunks_of(events, *deltas)
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert all(call["index"] == 0 for call in calls)
    assert [call["function"]["name"] for call in calls if "name" in call["function"]] == ["f"]
    assert [call["type"] for call in calls if "id" in call] == ["function"]
    assert "".join(call["function"]["arguments"] for call in calls) == '{"a": 1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}


@pytest.mark.parametrize("forced", [None, ForcedCalls(), ForcedCalls("f")])
@given(data=st.data())
def test_a_stream_says_what_the_whole_answer_says(forced, data):
    text = '[{"name": "f", "parameters": {"a": "}\\"{"}}, {"name": "g", "parameters": {}}]'
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    deltas = [Delta(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)] + [Delta("", "stop")]
    message = chat_body(assemble("r", deltas), "m", 17, forced=forced)["choices"][0]["message"]
    content, calls = "", {}
    for chunk in chunks_of(ChatEvents(HEAD, asked(forced=forced)), *deltas):
        delta = chunk["choices"][0]["delta"]
        content += delta.get("content") or ""
        for piece in delta.get("tool_calls", ()):
            call = calls.setdefault(piece["index"], {"id": "", "type": "function", "function": {"arguments": ""}})
            call["id"] = piece.get("id", call["id"])
            call["function"]["name"] = piece["function"].get("name", call["function"].get("name"))
            call["function"]["arguments"] += piece["function"]["arguments"]
    assert (content or None, list(calls.values())) == (message["content"], message.get("tool_calls", []))


def test_a_completion_s_choices_are_counted_through_its_prompts_and_echo_once():
    events = CompletionEvents(HEAD, asked(num_choices=2, includes_usage=True), echoes=("p:", "q:"))
    pieces = [
        (0, Delta("a")),
        (1, Delta("b", sequence_index=1)),
        (0, Delta("c", "stop", 5, 2)),
        (1, Delta("", "length", 7, 1, sequence_index=1)),
    ]
    *chunks, usage, done = parsed(b"".join(events.of(number, delta) for number, delta in pieces) + events.end())
    assert done == DONE.strip()
    found = [
        (each["choices"][0]["index"], each["choices"][0]["text"], each["choices"][0]["finish_reason"])
        for each in chunks
    ]
    assert found == [(0, "p:a", None), (3, "q:b", None), (0, "c", "stop"), (3, "", "length")]
    assert (usage["choices"], usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == ([], 12, 3)


def test_text_offsets_go_on_from_one_chunk_to_the_next():
    events = CompletionEvents(HEAD, asked())
    first = Delta("ab", log_probs=(-1.0, -1.0), token_texts=(b"a", b"b"))
    second = Delta("c", "stop", log_probs=(-1.0,), token_texts=(b"c",))
    offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks_of(events, first, second)]
    assert offsets == [[0, 1], [2]]


def test_a_delta_without_news_makes_no_event():
    events = ChatEvents(HEAD, asked())
    events.of(0, Delta("a"))
    assert events.of(0, Delta("")) == b""
    assert CompletionEvents(HEAD, asked()).of(0, Delta("")) == b""


def test_a_failure_is_one_event_with_all_four_keys():
    (event,) = parsed(error_event(ApiError(500, "broken", "server_error")))
    assert event == {"error": {"message": "broken", "type": "server_error", "param": None, "code": None}}
