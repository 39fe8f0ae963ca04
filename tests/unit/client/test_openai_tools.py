"""Tools that must be called: the guide holds any model to them, and its answer is the calls however it was cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.text.grammars.json_schema import problem_with
from trident.text.grammars.schema import schema_grammar
from trident_client.batch_lines import answer_line, read_line
from trident_client.completion import Completion
from trident_client.openai_request import read_chat
from trident_client.openai_response import chat_body
from trident_client.openai_tools import ForcedCalls, GuidedCalls
from trident_client.sampling import Sampling

MESSAGES = [{"role": "user", "content": "Weather in Rome?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"$ref": "#/$defs/town"}},
            "required": ["town"],
            "$defs": {"town": {"type": "string"}},
        },
    },
}
TREE = {
    "type": "function",
    "function": {
        "name": "tree",
        "parameters": {"type": "object", "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
    },
}
NOTHING = {"type": "function", "function": {"name": "nothing"}}
TOOLS = [WEATHER, TREE, NOTHING]


def chat(**fields):
    return read_chat({"model": "m", "messages": MESSAGES, "tools": TOOLS, **fields})


def guide_of(**fields):
    return chat(**fields).sampling.guided_decoding_guide


def test_tools_that_may_be_called_go_to_the_server_and_those_that_may_not_stay_here():
    assert chat().sampling.tools == TOOLS
    assert chat(tool_choice="auto").forced is None
    assert chat(tool_choice="none").sampling.tools is None


def test_a_required_call_is_one_of_the_tools_with_arguments_of_its_own_schema():
    guide = guide_of(tool_choice="required")
    schema_grammar(guide)  # every keyword of it can be kept by the engine
    for calls in (
        [{"name": "weather", "parameters": {"town": "Rome"}}],
        [{"name": "tree", "parameters": {"child": {"child": None}}}, {"name": "nothing", "parameters": {}}],
    ):
        assert problem_with(guide, calls) is None
    for calls in (
        [],
        [{"name": "weather", "parameters": {"town": 5}}],
        [{"name": "tree", "parameters": {"child": {"child": 1}}}],
        [{"name": "nothing", "parameters": {"x": 1}}],
        [{"name": "other", "parameters": {}}],
    ):
        assert problem_with(guide, calls) is not None


def test_without_parallel_calls_there_is_exactly_one():
    guide = guide_of(tool_choice="required", parallel_tool_calls=False)
    call = {"name": "nothing", "parameters": {}}
    assert problem_with(guide, [call]) is None
    assert problem_with(guide, [call, call]) is not None


def test_a_named_function_s_guide_is_its_own_schema():
    asked = chat(tool_choice={"type": "function", "function": {"name": "weather"}})
    assert asked.forced == ForcedCalls("weather")
    assert asked.sampling.guided_decoding_guide == WEATHER["function"]["parameters"]
    assert asked.sampling.tools is None  # which a chat template may have no place for


@pytest.mark.parametrize(
    ("messages", "num_messages"),
    [
        (MESSAGES, 2),
        ([{"role": "system", "content": "Be brief."}, *MESSAGES], 2),
        ([{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, *MESSAGES], 2),
    ],
)
def test_the_tools_are_told_in_the_system_message(messages, num_messages):
    (told,) = read_chat({"messages": messages, "tools": TOOLS, "tool_choice": "required"}).prompts
    assert len(told) == num_messages
    text = json.dumps(told[0], ensure_ascii=False)
    assert "weather" in text
    assert ("Be brief." in text) == (len(messages) == 2)
    assert told[-1] == MESSAGES[0]


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"tools": [], "tool_choice": "required"}, InvalidRequestError, "tool_choice"),
        ({"tool_choice": "always"}, InvalidRequestError, "tool_choice"),
        ({"tool_choice": ["auto"]}, InvalidRequestError, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, UnsupportedParameterError, "tool_choice.type"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "wether"}}},
            InvalidRequestError,
            "tool_choice.function.name",
        ),
        ({"tools": [{"type": "custom"}]}, UnsupportedParameterError, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, InvalidRequestError, "tools[0]"),
        ({"tools": {}}, InvalidRequestError, "tools"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]},
            InvalidRequestError,
            "tools[0].function.parameters",
        ),
        ({"parallel_tool_calls": False}, UnsupportedParameterError, "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, UnsupportedParameterError, "response_format"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_place(fields, error, param):
    with pytest.raises(error) as caught:
        chat(**fields)
    assert caught.value.param == param


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), JSON_VALUES, max_size=3)), max_size=3)


@given(CALLS, st.data())
def test_calls_are_read_alike_however_their_text_is_cut(calls, data):
    arguments = [json.dumps(each) for _, each in calls]
    listed = ",\n ".join(
        f'{{"name": {json.dumps(name)}, "parameters": {text}}}'
        for (name, _), text in zip(calls, arguments, strict=True)
    )
    text = f"[{listed} ]"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    reader, found = GuidedCalls(ForcedCalls()), {}
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        for piece in reader.feed(text[start:end]):
            if piece.name is not None:
                assert piece.index == len(found)
                found[piece.index] = [piece.name, ""]
            found[piece.index][1] += piece.arguments
    assert list(found.values()) == [[name, text] for (name, _), text in zip(calls, arguments, strict=True)]


def test_a_guided_answer_becomes_calls_and_a_cut_one_stays_cut():
    text = '[{"name": "weather", "parameters": {"town": "Rome"}}, {"name": "tree", "parameters": {"chi'
    body = chat_body(Completion("r", text, "length", 1, 9), "m", 17, forced=ForcedCalls())
    (choice,) = body["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)
    assert [call["function"] for call in choice["message"]["tool_calls"]] == [
        {"name": "weather", "arguments": '{"town": "Rome"}'},
        {"name": "tree", "arguments": '{"chi'},
    ]


def test_a_named_function_is_called_once_with_the_whole_answer():
    body = chat_body(Completion("r", '{"town": "Rome"}', "stop", 1, 9), "m", 17, forced=ForcedCalls("weather"))
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"town": "Rome"}'}


def test_a_batch_s_line_may_force_a_call_too():
    body = {"model": "m", "messages": MESSAGES, "tools": TOOLS, "tool_choice": "required"}
    line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}).encode()
    task = read_line(1, line, "json", Sampling(), "ensemble")
    assert task.request.sampling.guided_decoding_guide_type == "json_schema"
    answer = '[{"name": "nothing", "parameters": {}}]'
    written = json.loads(answer_line(task, Completion("r", answer, "stop", 1, 9), 17))
    (choice,) = written["response"]["body"]["choices"]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "nothing", "arguments": "{}"}
