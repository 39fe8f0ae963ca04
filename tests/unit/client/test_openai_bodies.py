"""OpenAI's bodies, both ways: nothing is ignored that would change an answer, and every refusal names its place."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import InvalidRequestError, QueueFullError, UnsupportedParameterError
from trident_client.completion import Completion
from trident_client.openai_fields import INTEGERS, NUMBERS
from trident_client.openai_request import read_chat, read_completion
from trident_client.openai_response import chat_body, completion_body, error_body
from trident_client.sampling import Sampling

MESSAGES = [{"role": "user", "content": "Hi"}]
USAGE_DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def chat(**fields):
    return read_chat({"model": "m", "messages": MESSAGES, **fields})


def completion(**fields):
    return read_completion({"model": "m", "prompt": "x", **fields})


def test_a_chat_is_its_messages_and_the_parameters_by_their_names_here():
    asked = chat(
        max_completion_tokens=7,
        n=2,
        stop=["x"],
        temperature=0.5,
        frequency_penalty=0.1,
        top_k=3,
        seed=None,
        user="somebody",
        logprobs=True,
        top_logprobs=0,
    )
    assert asked.prompts == (MESSAGES,)
    assert (asked.num_choices, asked.user, asked.is_streaming) == (2, "somebody", False)
    assert asked.sampling == Sampling(
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
    assert read_completion({"prompt": "x", "seed": 2}, base).sampling == Sampling(max_tokens=5, seed=2)


def test_a_negative_seed_is_one_of_the_server_s_and_top_p_0_keeps_the_likeliest_token():
    assert chat(seed=-1).sampling.seed == 2**64 - 1
    assert 0 < chat(top_p=0).sampling.top_p < 1e-3


def test_a_stream_says_its_usage_when_it_is_asked_to():
    asked = chat(stream=True, stream_options={"include_usage": True})
    assert (asked.is_streaming, asked.includes_usage) == (True, True)
    assert not chat(stream=True).includes_usage


def test_a_completion_may_have_one_prompt_or_several_as_text_or_as_ids():
    assert completion(prompt="a").prompts == ("a",)
    assert completion(prompt=["a", "b"]).prompts == ("a", "b")
    assert completion(prompt=[1, 2]).prompt_ids == ((1, 2),)
    assert completion(prompt=[[1], [2, 3]]).prompt_ids == ((1,), (2, 3))


def test_the_best_of_several_needs_the_log_probabilities_of_all():
    asked = completion(best_of=3, n=2)
    assert (asked.num_choices, asked.best_of) == (2, 3)
    assert (asked.sampling.num_return_sequences, asked.sampling.return_log_probs) == (3, True)


@pytest.mark.parametrize(
    ("response_format", "kind", "guide"),
    [
        ({"type": "text"}, None, None),
        ({"type": "json_object"}, "json", None),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, "json_schema", "object"),
    ],
)
def test_a_response_format_is_a_guide(response_format, kind, guide):
    sampling = chat(response_format=response_format).sampling
    assert sampling.guided_decoding_guide_type == kind
    assert (sampling.guided_decoding_guide or {}).get("type") == guide


@pytest.mark.parametrize(("name", "bounds"), [*NUMBERS.items(), *INTEGERS.items()])
def test_a_range_is_kept_at_both_ends_and_no_further(name, bounds):
    for inside in bounds:
        chat(logprobs=True, **{name: inside})
    for outside in (bounds.low - 1, bounds.high + 1):
        with pytest.raises(InvalidRequestError) as caught:
            chat(**{name: outside})
        assert (caught.value.param, str(outside) in caught.value.message) == (name, True)


@pytest.mark.parametrize("value", ["1", True, [1], {}])
@pytest.mark.parametrize("name", [*NUMBERS, *INTEGERS])
def test_a_number_is_a_number(name, value):
    with pytest.raises(InvalidRequestError) as caught:
        chat(**{name: value})
    assert (caught.value.param, caught.value.code) == (name, "invalid_type")


@pytest.mark.parametrize(
    ("fields", "error", "param", "text"),
    [
        ({"temprature": 1}, InvalidRequestError, "temprature", "did you mean 'temperature'?"),
        ({"logit_bias": {"5": 1}}, UnsupportedParameterError, "logit_bias", "logit_bias"),
        ({"top_logprobs": 21, "logprobs": True}, InvalidRequestError, "top_logprobs", "got 21"),
        ({"top_logprobs": 3}, InvalidRequestError, "top_logprobs", "needs logprobs"),
        ({"logprobs": 1}, InvalidRequestError, "logprobs", "true or false, got 1"),
        ({"modalities": ["text", "audio"]}, UnsupportedParameterError, "modalities", "modalities"),
        ({"reasoning_effort": "high"}, UnsupportedParameterError, "reasoning_effort", "'high'"),
        ({"prediction": {}}, UnsupportedParameterError, "prediction", "prediction"),
        ({"functions": []}, UnsupportedParameterError, "functions", "functions"),
        ({"min_p": 0.1}, UnsupportedParameterError, "min_p", "min_p"),
        ({"return_log_probs": True}, InvalidRequestError, "return_log_probs", "unknown field"),
        ({"stop": []}, InvalidRequestError, "stop", "1..4"),
        ({"stop": ["a"] * 5}, InvalidRequestError, "stop", "got 5"),
        ({"stop": [1]}, InvalidRequestError, "stop", "list of texts"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, InvalidRequestError, "max_tokens", "differ"),
        ({"stream": "yes"}, InvalidRequestError, "stream", "true or false"),
        ({"stream_options": {"include_usage": True}}, InvalidRequestError, "stream_options", "needs stream"),
        ({"stream": True, "stream_options": {"x": True}}, InvalidRequestError, "stream_options.x", "unknown"),
        ({"response_format": {"type": "yaml"}}, InvalidRequestError, "response_format.type", "json_schema"),
        ({"response_format": "json"}, InvalidRequestError, "response_format.type", "json_schema"),
        ({"response_format": {"type": "json_schema"}}, InvalidRequestError, "response_format.json_schema.schema", ""),
        ({"messages": []}, InvalidRequestError, "messages", "one at least"),
        ({"messages": "Hi"}, InvalidRequestError, "messages", "list of objects"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            UnsupportedParameterError,
            "messages[0].content[0].type",
            "image_url parts",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(fields, error, param, text):
    with pytest.raises(error) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"echo": True, "logprobs": 0}, "echo"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": MESSAGES}, "messages"),
    ],
)
def test_a_completion_refuses_by_name_too(fields, param):
    with pytest.raises(InvalidRequestError) as caught:
        completion(**fields)
    assert caught.value.param == param


def test_a_chat_answer_has_every_field_that_openai_requires():
    second = Completion("r", "ho", "length", 3, 4)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
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
    body = chat_body(first, "m", 17, fingerprint="fp_1")
    assert (body["id"], body["object"], body["created"], body["model"]) == ("chatcmpl-r", "chat.completion", 17, "m")
    assert body["system_fingerprint"] == "fp_1"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (3, 6)
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1  # half of the first one's characters
    one, two = body["choices"]
    assert one["message"] == {
        "role": "assistant",
        "content": "hü",
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    assert one["logprobs"]["content"][1] == {"token": "\ufffd", "logprob": -1.0, "bytes": [0xC3], "top_logprobs": []}
    assert (two["index"], two["finish_reason"], two["logprobs"]) == (1, "length", None)


def test_a_call_without_text_has_no_content():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = chat_body(Completion("r", "", "tool_calls", 1, 1, tool_calls=(call,)), "m", 17)
    assert body["choices"][0]["message"]["content"] is None


def test_a_completion_answer_has_every_field_that_openai_requires():
    body = completion_body([Completion("r", "hi", "stop", None, None)], "m", 17)
    assert (body["id"], body["object"]) == ("cmpl-r", "text_completion")
    assert body["choices"] == [{"index": 0, "text": "hi", "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, **USAGE_DETAILS}


def test_choices_of_several_prompts_are_counted_through_and_begin_with_their_prompt():
    answers = [Completion("a", "1", "stop", 2, 1), Completion("b", "2", "stop", 3, 1)]
    body = completion_body(answers, "m", 17, echoes=("p", "q"))
    assert [(each["index"], each["text"]) for each in body["choices"]] == [(0, "p1"), (1, "q2")]
    assert body["usage"]["total_tokens"] == 7


def test_the_best_are_those_with_the_highest_log_probability_per_token():
    third = Completion("r", "c", "stop", 1, 1, log_probs=(-1.0,), token_texts=(b"c",))
    second = Completion("r", "b", "stop", 1, 2, log_probs=(-0.1, -0.3), token_texts=(b"b", b""))
    first = Completion("r", "a", "stop", 1, 1, log_probs=(-3.0,), token_texts=(b"a",), others=(second, third))
    body = completion_body([first], "m", 17, num_choices=2)
    assert [each["text"] for each in body["choices"]] == ["b", "c"]
    assert body["usage"]["completion_tokens"] == 4


def test_text_offsets_count_characters_of_a_text_whose_tokens_cut_one():
    log_probs = (-1.0, -1.0, -1.0, -1.0)
    one = Completion("r", "aüb", "stop", 1, 4, log_probs=log_probs, token_texts=(b"a", b"\xc3", b"\xbc", b"b"))
    choice = completion_body([one], "m", 17)["choices"][0]
    assert choice["logprobs"]["text_offset"] == [0, 1, 1, 2]


def test_the_likeliest_tokens_are_told_by_their_texts():
    assert chat(logprobs=True, top_logprobs=2).sampling.top_logprobs == 2
    assert completion(logprobs=2).sampling.top_logprobs == 2
    answer = Completion(
        "r", "a", "stop", 1, 1, log_probs=(-0.1,), token_texts=(b"a",), top_ids=((5, 9, -1),),
        top_log_probs=((-0.1, -2.0, float("-inf")),),
    )  # fmt: skip
    names = {5: b"a", 9: b"\xc3"}
    of_chat = chat_body(answer, "m", 17, names=names)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert of_chat == [
        {"token": "a", "logprob": -0.1, "bytes": [97]},
        {"token": "\ufffd", "logprob": -2.0, "bytes": [0xC3]},
    ]
    of_text = completion_body([answer], "m", 17, names=names)["choices"][0]["logprobs"]["top_logprobs"]
    assert of_text == [{"a": -0.1, "\ufffd": -2.0}]


def test_an_error_has_all_four_keys():
    assert error_body(QueueFullError("full")) == {
        "message": "full",
        "type": "server_error",
        "param": None,
        "code": "overloaded",
    }


KEYS = st.sampled_from([
    "type", "role", "content", "function", "name", "parameters", "json_schema", "schema", "tools", "text", "$defs",
    "include_usage",
]) | st.text(max_size=3)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["function", "required", "json_schema", "x"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(KEYS, children, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from([
    "messages", "tools", "tool_choice", "response_format", "stop", "stream", "stream_options", "n", "max_tokens",
    "prompt", "best_of", "echo", "logprobs", "top_logprobs", "parallel_tool_calls", "logit_bias", "user", "seed",
    "top_p",
])  # fmt: skip


@given(st.dictionaries(FIELDS, VALUES, max_size=5), st.booleans())
def test_whatever_json_a_body_holds_it_is_read_or_refused(fields, is_forced):
    forced = (
        {"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]} if is_forced else {}
    )
    for read, own in ((read_chat, {"messages": MESSAGES, **forced}), (read_completion, {"prompt": "x"})):
        with contextlib.suppress(InvalidRequestError):
            read({**own, **fields})


def test_no_more_prompts_than_the_gateway_takes_at_once():
    with pytest.raises(InvalidRequestError) as caught:
        completion(prompt=["x"] * 129)
    assert caught.value.param == "prompt"
    assert len(completion(prompt=[1] * 500).prompt_ids) == 1
