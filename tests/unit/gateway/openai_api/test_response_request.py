"""Bodies of `/v1/responses` as chats: what both APIs say is said alike, what the gateway lacks is refused by name."""

import pytest

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.openai_api.response_items import messages_of, new_item_id, read_items, response_of
from trident.gateway.openai_api.response_request import read_as_chat, read_response, response_object

RESPONSE = "resp_" + "0a" * 16
FUNCTION = {
    "type": "function",
    "name": "add",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}


def chat_of(**body):
    body = {"model": "m", "input": "hi", **body}
    request = read_response(body)
    return read_as_chat(request, read_items(body["input"], RESPONSE, lambda _: None))


def messages(given, instructions=None):
    return messages_of(instructions, read_items(given, RESPONSE, lambda _: None))


def test_a_text_is_one_message_of_the_user():
    assert messages("hi", "be brief") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]


def test_a_conversation_with_calls_is_the_same_chat():
    """Calls that follow each other, and the text before them, are one message; reasoning is not given back."""
    given = [
        {"role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "message", "role": "user", "content": "1+2, 3+4?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I add.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "7"}]},
    ]
    calls = [{"id": each, "type": "function", "function": {"name": "add", "arguments": "{}"}} for each in ("c1", "c2")]
    assert messages(given) == [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "1+2, 3+4?"},
        {"role": "assistant", "content": "I add.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "tool_call_id": "c2", "content": "7"},
    ]


def test_items_that_a_response_gave_can_be_read_again():
    """With their ids, so that references to them hold."""
    items = read_items("hi", RESPONSE, lambda _: None)
    assert read_items(items, RESPONSE, lambda _: None) == items


def test_a_reference_stands_for_the_item_that_it_names():
    item_id = new_item_id("message", RESPONSE, "0")
    stored = {"type": "message", "id": item_id, "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    assert response_of(item_id) == RESPONSE
    assert read_items([{"type": "item_reference", "id": item_id}], RESPONSE, {item_id: stored}.get) == [stored]
    assert read_items([{"id": item_id}], RESPONSE, {item_id: stored}.get) == [stored]
    with pytest.raises(InvalidRequestError) as refused:
        read_items([{"type": "item_reference", "id": item_id}], RESPONSE, lambda _: None)
    assert refused.value.param == "input[0].id"


@pytest.mark.parametrize("item_id", ["msg_1", "", "resp_" + "0a" * 16, "msg_" + "0A" * 16 + "_0"])
def test_an_id_that_is_not_ours_belongs_to_no_response(item_id):
    assert response_of(item_id) is None


def test_numbers_tools_and_schemas_mean_what_they_mean_in_a_chat():
    chat = chat_of(temperature=0.5, top_p=0.25, max_output_tokens=7, top_k=3, tools=[FUNCTION], safety_identifier="u")
    sampling = chat.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.top_k) == (0.5, 0.25, 7, 3)
    assert sampling.tools == [{"type": "function", "function": {key: FUNCTION[key] for key in ("name", "parameters")}}]
    assert chat.user == "u"
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    guided = chat_of(text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}})
    assert guided.sampling.guided_decoding_guide == schema
    forced = chat_of(tools=[FUNCTION], tool_choice={"type": "function", "name": "add"})
    assert forced.forced.name == "add"
    likeliest = chat_of(include=["message.output_text.logprobs"], top_logprobs=3)
    assert (likeliest.sampling.return_log_probs, likeliest.sampling.top_logprobs) == (True, 3)


def test_a_response_repeats_what_was_asked():
    request = read_response({"model": "m", "input": "x", "tools": [FUNCTION], "metadata": {"a": "b"}, "store": False})
    shown = response_object(request, RESPONSE, 1)
    assert (shown["store"], shown["metadata"], shown["status"]) == (False, {"a": "b"}, "in_progress")
    assert shown["tools"] == [{**FUNCTION, "description": None, "strict": None}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"text": {"verbosity": "high"}}, "text.verbosity"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ],
)
def test_what_the_gateway_lacks_is_refused_by_name(body, param):
    with pytest.raises(UnsupportedParameterError) as refused:
        chat_of(**body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": "x", "mood": "glad"}]}, "input[0].mood"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_logprobs": 21, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"store": "yes"}, "store"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {}}, "stream_options"),
        ({"instructions": 5}, "instructions"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"formt": {}}}, "text.formt"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{**FUNCTION, "defer": 1}]}, "tools[0].defer"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "sub"}}, "tool_choice.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(body, param):
    with pytest.raises(InvalidRequestError) as refused:
        chat_of(**body)
    assert refused.value.param == param
    assert "messages" not in refused.value.message


def test_a_field_that_is_null_is_one_that_is_absent():
    nulls = dict.fromkeys(
        ("instructions", "tools", "text", "reasoning", "metadata", "temperature", "stream", "include")
    )
    assert chat_of(**nulls) == chat_of()
