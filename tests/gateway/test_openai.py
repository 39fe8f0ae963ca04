"""OpenAI's API before a real Triton, driven by OpenAI's own client for Python."""

import asyncio
import json

import httpx
import openai
import pydantic
import pytest
from openai.types import Completion as TextCompletion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trident.gateway.openai_api import answers

USER = [{"role": "user", "content": "What is the capital of France?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "million": {"type": "integer", "maximum": 50}},
    "required": ["city", "million"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "show_city", "description": "Shows a city", "parameters": CITY}}
GREEDY = {"model": "smollm2", "temperature": 0}


@pytest.fixture(scope="module")
def client(gateway):
    with openai.OpenAI(api_key="any", base_url=f"{gateway.url}/v1", max_retries=0) as client:
        yield client


def chat(client, **fields):
    return client.chat.completions.create(**{**GREEDY, "messages": USER, "max_completion_tokens": 12, **fields})


def text_of(chunks, index=0):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index)


def assert_exact(answer, ours, theirs):
    """Of our own form to the letter, and with no field that OpenAI's client has no name for but reasoning's."""
    raw = answer.model_dump(exclude_unset=True) if isinstance(answer, pydantic.BaseModel) else answer
    if ours is not None:
        ours.model_validate(raw, strict=True)
    theirs.model_validate(raw, extra="forbid", strict=True)


def test_a_whole_answer_and_a_stream_say_the_same(client):
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "Paris" in whole.choices[0].message.content
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.system_fingerprint for chunk in chunks} == {whole.system_fingerprint}
    assert_exact(whole, answers.ChatCompletion, ChatCompletion)
    for chunk in chunks:
        assert_exact(chunk, None, ChatCompletionChunk)


def test_several_answers_are_told_apart_and_a_seed_repeats_them(client):
    asked = {"n": 3, "temperature": 1, "seed": 7, "max_completion_tokens": 6}
    first = [choice.message.content for choice in chat(client, **asked).choices]
    again = list(chat(client, **asked, stream=True))
    assert [text_of(again, index) for index in range(3)] == first
    assert len(set(first)) > 1


def test_a_stop_word_ends_the_answer_before_it(client):
    whole = chat(client, stop=["Paris"], max_completion_tokens=40)
    assert "Paris" not in whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"


def test_log_probabilities_are_those_of_the_tokens_of_the_text(client):
    whole = chat(client, logprobs=True)
    stream = list(chat(client, logprobs=True, stream=True))
    content = whole.choices[0].logprobs.content
    *_, end = content  # the token that ended it is among them, and no text
    assert b"".join(bytes(each.bytes) for each in content[:-1]).decode() == whole.choices[0].message.content
    assert end.token == "<|im_end|>"  # noqa: S105 - a token of the model's
    streamed = [each for chunk in stream if chunk.choices[0].logprobs for each in chunk.choices[0].logprobs.content]
    assert [each.token for each in streamed] == [each.token for each in content]
    assert all(each.logprob <= 0 for each in content)
    assert_exact(whole, answers.ChatCompletion, ChatCompletion)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_keeps_its_json_schema(client, stream):
    schema = {"name": "city", "strict": True, "schema": CITY}
    answer = chat(
        client, response_format={"type": "json_schema", "json_schema": schema}, max_completion_tokens=80, stream=stream
    )
    text = text_of(list(answer)) if stream else answer.choices[0].message.content
    assert set(json.loads(text)) == {"city", "million"}


def test_json_is_json(client):
    answer = chat(client, response_format={"type": "json_object"}, max_completion_tokens=200, stop=["\n\n\n"])
    text = answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length" or json.loads(text) is not None
    assert text.lstrip()[0] in "{["


class City(pydantic.BaseModel):
    city: str = pydantic.Field(max_length=20)
    million: int = pydantic.Field(le=50)


def test_the_client_s_own_types_are_kept(client):
    parsed = client.chat.completions.parse(**GREEDY, messages=USER, max_tokens=80, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


NAMED = {"type": "function", "function": {"name": "show_city"}}


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_tool_that_must_be_called_is_called(client, choice):
    asked = {"tools": [TOOL], "tool_choice": choice, "parallel_tool_calls": False, "max_completion_tokens": 100}
    whole = chat(client, **asked)
    (call,) = whole.choices[0].message.tool_calls
    assert (call.function.name, whole.choices[0].finish_reason) == ("show_city", "tool_calls")
    assert set(json.loads(call.function.arguments)) == {"city", "million"}
    assert whole.choices[0].message.content is None
    assert_exact(whole, answers.ChatCompletion, ChatCompletion)
    with client.chat.completions.stream(**GREEDY, messages=USER, **asked) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    assert streamed.message.tool_calls[0].function.arguments == call.function.arguments
    assert streamed.message.tool_calls[0].id.startswith("call_")


def test_tools_that_the_chat_template_has_no_place_for_are_refused_by_name_and_none_of_them_is_none(client):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, tools=[TOOL])
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    assert chat(client, tools=[TOOL], tool_choice="none").choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"n": 17}, "n", "invalid_value"),
        ({"max_completion_tokens": 10**6}, "max_tokens", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", "unsupported_parameter"),
        ({"logit_bias": {"50": 10}}, "logit_bias", "unsupported_parameter"),
        ({"extra_body": {"min_p": 0.1}}, "min_p", "unsupported_parameter"),
        ({"extra_body": {"tok_k": 1}}, "tok_k", "unknown_parameter"),
        ({"extra_body": {"bad_words": ["x"]}}, "bad_words", "unsupported_parameter"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, "messages", "context_length_exceeded"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "king"}}}},
            "response_format",
            "invalid_value",
        ),
    ],
)
def test_a_refusal_names_its_field(client, fields, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, **fields)
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")


def test_a_model_that_is_not_there_is_not_found(client):
    for ask in (lambda: chat(client, model="gpt-5"), lambda: client.models.retrieve("gpt-5")):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_a_simulated_engine_refuses_what_it_cannot_do_in_openai_s_words(client):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model="simulated", logprobs=True)
    assert (caught.value.param, caught.value.code) == ("logprobs", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model="simulated", response_format={"type": "json_object"})
    assert caught.value.param == "response_format"


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["smollm2", "simulated"]
    assert client.models.retrieve("smollm2").object == "model"


def test_a_chat_that_says_no_length_may_be_as_long_as_the_engine_allows(client):
    with chat(client, model="simulated", max_completion_tokens=None, stream=True) as stream:
        assert len([chunk for chunk, _ in zip(stream, range(200), strict=False)]) == 200


def test_completions_follow_their_prompts(client):
    asked = {**GREEDY, "max_tokens": 4, "logprobs": 0}
    whole = client.completions.create(**asked, prompt="Count: 1, 2, 3,")
    choice = whole.choices[0]
    assert choice.text == "".join(choice.logprobs.tokens) == " 4, "
    assert choice.logprobs.text_offset[0] == 0
    assert_exact(whole, answers.TextCompletion, TextCompletion)
    echoed = client.completions.create(**GREEDY, max_tokens=4, prompt=["Count: 1, 2, 3,", "A B C"], echo=True)
    assert echoed.choices[0].text == "Count: 1, 2, 3, 4, "
    assert echoed.choices[1].text.startswith("A B C")
    stream = client.completions.create(**GREEDY, max_tokens=4, prompt="Count: 1, 2, 3,", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == " 4, "


def test_a_completion_without_a_length_has_16_tokens(client):
    answer = client.completions.create(model="simulated", prompt="x")
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (16, "length")


def test_the_best_of_several_is_among_them(client):
    asked = {"model": "smollm2", "prompt": "Once upon", "max_tokens": 6, "seed": 3, "logprobs": 0}
    best = client.completions.create(**asked, best_of=4)
    every = client.completions.create(**asked, n=4)

    def score(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    assert best.choices[0].text == max(every.choices, key=score).text
    assert best.usage.completion_tokens == every.usage.completion_tokens


TEXTS = ["Hello", " two  spaces", "tabs\tand\nlines", "Grüße, 東京 😀", "<|im_start|>user", "e\u0301\u200d\U0001f468"]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_model_and_give_the_text_back(gateway, client, text):
    with httpx.Client(base_url=gateway.url, trust_env=False) as http:
        told = http.post("/tokenize", json={"model": "smollm2", "prompt": text, "return_token_strs": True}).json()
        back = http.post("/detokenize", json={"model": "smollm2", "tokens": told["tokens"]}).json()
    assert back == {"prompt": text}
    assert told["count"] == len(told["tokens"]) == len(told["token_strs"])
    answers.Tokenized.model_validate(told)
    by_ids = client.completions.create(**GREEDY, prompt=told["tokens"], max_tokens=4, echo=True)
    by_text = client.completions.create(**GREEDY, prompt=text, max_tokens=4, echo=True)
    assert by_ids.choices[0].text == by_text.choices[0].text
    assert by_ids.usage.prompt_tokens == told["count"]


def test_the_tokens_of_a_chat_are_those_that_its_answer_counts(gateway, client):
    with httpx.Client(base_url=gateway.url, trust_env=False) as http:
        told = http.post("/tokenize", json={"model": "smollm2", "messages": USER}).json()
        shorter = {"model": "smollm2", "messages": USER, "add_generation_prompt": False}
        assert http.post("/tokenize", json=shorter).json()["count"] < told["count"]
        bare = http.post("/tokenize", json={"model": "smollm2", "prompt": "a b", "add_special_tokens": False}).json()
        unknown = http.post("/detokenize", json={"model": "smollm2", "tokens": [10**6]}).json()
    assert chat(client).usage.prompt_tokens == told["count"]
    assert bare["count"] == 2
    assert "1000000" in unknown["error"]["message"]


def test_ids_that_no_text_gives_are_refused(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="smollm2", prompt=[39, 71, 74, 74, 77])  # "Hello" letter by letter
    assert caught.value.param == "prompt"


def test_many_streams_at_once_do_not_mix(gateway):
    async def check():
        async with openai.AsyncOpenAI(api_key="any", base_url=f"{gateway.url}/v1", max_retries=0) as client:

            async def one(number):
                stream = await client.chat.completions.create(
                    model="simulated", messages=USER, max_tokens=5 + number, stream=True
                )
                chunks = [chunk async for chunk in stream]
                return len({chunk.id for chunk in chunks}), text_of(chunks)

            return await asyncio.gather(*[one(number) for number in range(16)])

    results = asyncio.run(check())
    assert {num_ids for num_ids, _ in results} == {1}
    longest = results[-1][1]
    assert all(longest.startswith(text) for _, text in results)
    assert len({text for _, text in results}) == 16
