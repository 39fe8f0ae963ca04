"""A body of another shape is refused by the deepest place that is wrong, in OpenAI's words."""

import asyncio

import pytest
from fastapi import HTTPException, Request

from trident.errors import InvalidRequestError
from trident.gateway.openai_api.bodies import ChatBody, CompletionBody, DetokenizeBody, TokenizeBody
from trident.gateway.openai_api.reading import body_in_document, check_shape, read_object
from trident_client.openai_fields import INTEGERS, NUMBERS
from trident_client.openai_request import read_chat, read_completion

USER = {"role": "user", "content": "Hi"}
FUNCTION = {"name": "f", "parameters": {"type": "object"}}


def request_of(body, content_type="application/json"):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", content_type.encode())] if content_type else []
    return Request({"type": "http", "headers": headers}, receive)


def read(body, content_type="application/json"):
    return asyncio.run(read_object(request_of(body, content_type)))


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "", "text/x+json"])
def test_a_json_object_is_read(content_type):
    assert read(b'{"a": 1}', content_type) == {"a": 1}


def test_another_content_type_is_told():
    with pytest.raises(HTTPException) as caught:
        read(b"{}", "text/plain")
    assert caught.value.status_code == 415


@pytest.mark.parametrize("body", [b"", b"{", b"nan", b'{"a": NaN}', b'"\\ud800"', b"\xff", b"[1]", b"1"])
def test_anything_else_is_no_body(body):
    with pytest.raises(InvalidRequestError):
        read(body)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", None),
        ({"messages": [{**USER, "color": "red"}]}, "messages[0].color", "unknown_parameter"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id", None),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"store": "yes"}, "store", "invalid_type"),
        ({"service_tier": "best"}, "service_tier", "invalid_value"),
        ({"top_k": "5"}, "top_k", "invalid_type"),
        ({"nonsense": 1}, "nonsense", "unknown_parameter"),
    ],
)
def test_a_refusal_names_the_place(fields, param, code):
    with pytest.raises(InvalidRequestError) as caught:
        check_shape(ChatBody, {"model": "m", "messages": [USER], **fields})
    assert caught.value.param == param
    assert code is None or caught.value.code == code


def test_what_an_answer_said_may_be_sent_back():
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "audio": None,
        "annotations": [],
        "tool_calls": [call],
    }
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "x"}]}
    check_shape(ChatBody, {"model": "m", "messages": [USER, answer, result]})


def test_every_field_of_the_types_is_one_that_is_read():
    """A field of `ChatBody` or `CompletionBody` that `openai_request` does not know would be refused as unknown."""
    numbers = {name: bounds.low for name, bounds in (NUMBERS | INTEGERS).items()}
    for model, read_body, own in (
        (ChatBody, read_chat, {"messages": [USER]}),
        (CompletionBody, read_completion, {"prompt": "x"}),
    ):
        unknown = []
        for name in model.model_fields:
            try:
                read_body({**own, name: numbers.get(name, own.get(name, object()))})
            except InvalidRequestError as exc:
                unknown += [name] if exc.code == "unknown_parameter" else []
        assert not unknown


@pytest.mark.parametrize("model", [ChatBody, CompletionBody, TokenizeBody, DetokenizeBody])
def test_a_body_in_the_document_stands_by_itself(model):
    described = body_in_document(model)["requestBody"]
    assert described["required"]
    assert "$ref" not in str(described)
