"""OpenAI's bodies, both ways: nothing is ignored that would change an answer."""

import pytest

from trident.errors import InvalidRequestError, QueueFullError, UnsupportedParameterError
from trident_client.completion import Completion
from trident_client.openai_request import read_chat, read_completion
from trident_client.openai_response import chat_body, completion_body, error_body
from trident_client.sampling import Sampling

MESSAGES = [{"role": "user", "content": "Hi"}]


def sampling_of_chat(**fields):
    return read_chat({"model": "m", "messages": MESSAGES, **fields})[1]


def test_a_chat_is_its_messages_and_the_parameters_by_their_names_here():
    messages, sampling = read_chat(
        {
            "model": "m",
            "messages": MESSAGES,
            "max_completion_tokens": 7,
            "n": 2,
            "stop": ["x"],
            "temperature": 0.5,
            "frequency_penalty": 0.1,
            "top_k": 3,
            "seed": None,
            "user": "somebody",
            "logprobs": True,
            "top_logprobs": 0,
        }
    )
    assert messages == MESSAGES
    assert sampling == Sampling(
        max_tokens=7,
        num_return_sequences=2,
        stop_words=["x"],
        temperature=0.5,
        frequency_penalty=0.1,
        top_k=3,
        return_log_probs=True,
    )


def test_the_job_s_parameters_hold_where_a_body_says_nothing():
    base = Sampling(max_tokens=5, seed=1)
    assert read_completion({"prompt": "x", "seed": 2}, base)[1] == Sampling(max_tokens=5, seed=2)


def test_a_completion_that_echoes_keeps_its_prompt():
    prompt, sampling = read_completion({"prompt": "x", "echo": True, "logprobs": 0, "best_of": 1})
    assert prompt == "x"
    assert (sampling.exclude_input_in_output, sampling.return_log_probs) == (False, True)


@pytest.mark.parametrize(
    ("response_format", "kind", "guide"),
    [
        ({"type": "text"}, None, None),
        ({"type": "json_object"}, "json", None),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, "json_schema", "object"),
    ],
)
def test_a_response_format_is_a_guide(response_format, kind, guide):
    sampling = sampling_of_chat(response_format=response_format)
    assert sampling.guided_decoding_guide_type == kind
    assert (sampling.guided_decoding_guide or {}).get("type") == guide


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"temprature": 1}, InvalidRequestError, "unknown field 'temprature'; did you mean 'temperature'?"),
        ({"logit_bias": {"5": 1}}, UnsupportedParameterError, "logit_bias"),
        ({"tool_choice": "required"}, UnsupportedParameterError, "tool_choice 'required'"),
        ({"parallel_tool_calls": 1}, UnsupportedParameterError, "parallel_tool_calls 1"),
        ({"stream": True}, UnsupportedParameterError, "stream True"),
        ({"top_logprobs": 2}, UnsupportedParameterError, "top_logprobs 2"),
        ({"logprobs": 1}, InvalidRequestError, "logprobs must be true or false, got 1"),
        ({"response_format": {"type": "yaml"}}, InvalidRequestError, "response_format.type"),
        ({"response_format": "json"}, InvalidRequestError, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, InvalidRequestError, "json_schema.schema"),
        ({"messages": []}, InvalidRequestError, "messages must be"),
        ({"messages": "Hi"}, InvalidRequestError, "messages must be"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(fields, error, text):
    with pytest.raises(error) as caught:
        sampling_of_chat(**fields)
    assert text in caught.value.message


@pytest.mark.parametrize("prompt", [None, ["a", "b"], [1, 2], 3])
def test_a_completion_takes_one_text(prompt):
    with pytest.raises(InvalidRequestError, match="prompt must be one text"):
        read_completion({"prompt": prompt})


def test_a_chat_answer_has_every_field_that_openai_requires():
    second = Completion("r", "ho", "length", 3, 4)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    first = Completion(
        "r",
        "hü",
        "stop",
        3,
        2,
        reasoning="hm",
        tool_calls=(call,),
        log_probs=(-0.5, -1.0),
        token_texts=(b"h", b"\xc3"),
        others=(second,),
    )
    body = chat_body(first, "m", 17)
    assert (body["id"], body["object"], body["created"], body["model"]) == ("chatcmpl-r", "chat.completion", 17, "m")
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    one, two = body["choices"]
    assert one["message"] == {
        "role": "assistant",
        "content": "hü",
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [call],
    }
    assert one["logprobs"]["content"][1] == {"token": "\ufffd", "logprob": -1.0, "bytes": [0xC3], "top_logprobs": []}
    assert (two["index"], two["finish_reason"], two["logprobs"]) == (1, "length", None)


def test_a_completion_answer_has_every_field_that_openai_requires():
    body = completion_body(Completion("r", "hi", "stop", None, None), "m", 17)
    assert (body["id"], body["object"]) == ("cmpl-r", "text_completion")
    assert body["choices"] == [{"index": 0, "text": "hi", "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"]["total_tokens"] == 0


def test_an_error_has_all_four_keys():
    assert error_body(QueueFullError("full")) == {
        "message": "full",
        "type": "server_error",
        "param": None,
        "code": "overloaded",
    }
