"""What OpenAI's own client makes of the gateway's answers: every error is the client's own class for it."""

from contextlib import asynccontextmanager

import httpx
import openai
import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.openai_api.stored_app import stored_app
from tests.unit.gateway.scripted_upstream import words
from trident.errors import (
    AuthenticationError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    PermissionDeniedError,
    PromptTooLongError,
    QueueFullError,
    QuotaError,
    RateLimitError,
    UnavailableError,
    UnsupportedParameterError,
)
from trident_client.completion import Delta

USER = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def sdk(folder, *script, api_key="team"):
    """OpenAI's client of a gateway whose one deployment follows the script; and the gateway."""
    async with stored_app(folder, main=list(script)) as (gateway, client_of):
        http = client_of("nobody")
        async with openai.AsyncOpenAI(
            api_key=api_key, base_url="http://gateway/v1", max_retries=0,
            http_client=httpx.AsyncClient(transport=http._transport),
        ) as client:  # fmt: skip
            yield client, gateway


def ask(client, **fields):
    return client.chat.completions.create(**{"model": "chat", "messages": USER, "max_tokens": 8, **fields})


def test_a_chat_comes_whole_and_in_pieces_alike(tmp_path):
    async def check():
        async with sdk(tmp_path, *words("Good", " day", "!")) as (client, gateway):
            whole = await ask(client)
            stream = await ask(client, stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
            asked = [each for each in gateway.upstreams.asked if each[0] == "main"]
        assert whole.choices[0].message.content == "Good day!"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Good day!"
        assert chunks[-1].usage == whole.usage
        assert whole.usage.total_tokens == 7
        assert len({chunk.id for chunk in chunks}) == 1
        assert asked[0][2] == asked[1][2]  # the sampling is the same, however it is answered
        assert asked[0][2].temperature == 1.0

    run(check())


@pytest.mark.parametrize(
    ("failure", "error", "status", "code"),
    [
        (InvalidRequestError("seed must be 1"), openai.BadRequestError, 400, "invalid_value"),
        (UnsupportedParameterError("top_k is not"), openai.BadRequestError, 400, "unsupported_parameter"),
        (PromptTooLongError("too long"), openai.BadRequestError, 400, "context_length_exceeded"),
        (QueueFullError("full"), openai.InternalServerError, 503, "overloaded"),
        (UnavailableError("gone"), openai.InternalServerError, 503, "unavailable"),
        (EngineError("broken at /secret/path"), openai.InternalServerError, 500, None),
        (DeadlineExceededError("late"), openai.APIStatusError, 408, "request_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_word_is_a_status(tmp_path, failure, error, status, code, stream):
    async def check():
        async with sdk(tmp_path, failure) as (client, _):
            with pytest.raises(error) as caught:
                await ask(client, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert set(caught.value.body) == {"message", "type", "param", "code"}
        assert caught.value.request_id
        assert "/secret" not in str(caught.value.body)

    run(check())


def test_a_refusal_of_the_server_s_names_the_field_of_the_body(tmp_path):
    async def check():
        async with sdk(tmp_path, InvalidRequestError("num_return_sequences must be in 1..16, got 20")) as (client, _):
            with pytest.raises(openai.BadRequestError) as caught:
                await ask(client, n=20)
        assert (caught.value.param, caught.value.body["message"]) == ("n", "n must be in 1..16, got 20")

    run(check())


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (AuthenticationError("unknown key"), openai.AuthenticationError, "invalid_api_key"),
        (PermissionDeniedError("not this"), openai.PermissionDeniedError, "permission_denied"),
        (RateLimitError("wait", retry_after_s=2), openai.RateLimitError, "rate_limit_exceeded"),
        (QuotaError("spent"), openai.RateLimitError, "insufficient_quota"),
    ],
)
def test_who_may_not_ask_is_told_why(tmp_path, failure, error, code):
    class Refusing:
        async def start(self):
            """As `Authenticator`."""

        close = start

        async def authenticate(self, headers, address):
            raise failure

    async def check():
        async with sdk(tmp_path) as (client, gateway):
            gateway.authenticator = Refusing()
            for ask_for in (lambda: ask(client), client.models.list, lambda: client.models.retrieve("chat")):
                with pytest.raises(error) as caught:
                    await ask_for()
                assert caught.value.code == code

    run(check())


def test_an_unknown_model_is_not_found(tmp_path):
    async def check():
        async with sdk(tmp_path) as (client, _):
            for ask_for in (ask(client, model="chta"), client.models.retrieve("chta")):
                with pytest.raises(openai.NotFoundError) as caught:
                    await ask_for
                assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
                assert "'chat'" in caught.value.body["message"]

    run(check())


@pytest.mark.parametrize(
    ("last", "text"),
    [(EngineError("broken"), "server failed"), (Delta("", "cancelled"), "cancelled")],
)
def test_a_stream_that_breaks_says_so_and_is_not_done(tmp_path, last, text):
    async def check():
        async with sdk(tmp_path, Delta("Good"), last) as (client, _):
            stream = await ask(client, stream=True)
            seen = [(await anext(stream)).choices[0].delta.content for _ in range(2)]
            with pytest.raises(openai.APIError) as caught:
                await anext(stream)
            assert seen == ["", "Good"]
            assert text in caught.value.message
            async with client.chat.completions.with_streaming_response.create(
                model="chat", messages=USER, max_tokens=8, stream=True
            ) as raw:
                body = (await raw.read()).decode()
        assert "[DONE]" not in body
        assert body.rstrip().splitlines()[-1].startswith('data: {"error":{')

    run(check())


def test_an_answer_that_was_cancelled_is_an_error_when_it_is_whole_too(tmp_path):
    async def check():
        async with sdk(tmp_path, Delta("Good"), Delta("", "cancelled")) as (client, _):
            with pytest.raises(openai.BadRequestError) as caught:
                await ask(client)
        assert caught.value.code == "request_cancelled"

    run(check())


class Names:
    """In place of `TextModels`."""

    async def names_in(self, model, request_id, *answers):
        return {token_id: f"<{token_id}>".encode() for each in answers for row in each.top_ids for token_id in row}


def test_the_likeliest_tokens_have_texts_whole_and_streamed(tmp_path):
    last = Delta("a", "stop", log_probs=(-1.0,), token_texts=(b"a",), top_ids=((5, 6),), top_log_probs=((-1.0, -2.0),))

    async def check():
        async with sdk(tmp_path, last) as (client, gateway):
            gateway.text_models = Names()
            whole = await ask(client, logprobs=True, top_logprobs=2)
            stream = [chunk async for chunk in await ask(client, logprobs=True, top_logprobs=2, stream=True)]
            text = await client.completions.create(model="chat", prompt="x", logprobs=2)
        streamed = [chunk.choices[0].logprobs.content for chunk in stream if chunk.choices[0].logprobs]
        for content in (whole.choices[0].logprobs.content, *streamed):
            assert [(each.token, each.logprob) for each in content[0].top_logprobs] == [("<5>", -1.0), ("<6>", -2.0)]
        assert len(streamed) == 1
        assert text.choices[0].logprobs.top_logprobs == [{"<5>": -1.0, "<6>": -2.0}]

    run(check())


def test_several_prompts_are_several_requests_and_one_answer(tmp_path):
    async def check():
        async with sdk(tmp_path, *words("a", "b")) as (client, gateway):
            whole = await client.completions.create(model="chat", prompt=["x", "y"], echo=True)
            stream = await client.completions.create(
                model="chat", prompt=["x", "y"], echo=True, stream=True, stream_options={"include_usage": True}
            )
            texts, usage = {}, None
            async for chunk in stream:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    texts[choice.index] = texts.get(choice.index, "") + choice.text
            ids = {each[3] for each in gateway.upstreams.asked}
        assert [choice.text for choice in whole.choices] == ["xab", "yab"]
        assert texts == {0: "xab", 1: "yab"}
        assert usage.total_tokens == whole.usage.total_tokens == 12
        assert len(ids) == 4

    run(check())


def test_when_one_of_several_prompts_fails_none_goes_on(tmp_path):
    async def check():
        scripts = [[Delta("a"), "hang"], [InvalidRequestError("no")]]
        async with sdk(tmp_path, *scripts) as (client, gateway):
            with pytest.raises(openai.BadRequestError):
                await client.completions.create(model="chat", prompt=["x", "y"])
            assert all(stream.is_closed for stream in gateway.upstreams.streams[:1])

    run(check())


def test_the_answer_s_headers_name_the_request_and_the_deployment(tmp_path):
    async def check():
        async with sdk(tmp_path, *words("a")) as (client, gateway):
            for stream in (False, True):
                answer = await client.chat.completions.with_raw_response.create(
                    model="chat", messages=USER, max_tokens=8, stream=stream
                )
                assert answer.headers["x-trident-deployment"] == "main"
                assert answer.headers["x-request-id"] == gateway.upstreams.asked[-1][3]

    run(check())


def test_a_key_sees_the_models_that_it_may_ask(tmp_path):
    async def check():
        async with sdk(tmp_path) as (client, gateway):
            models = await client.models.list()
            assert [model.id for model in models.data] == list(gateway.config.models)
            assert (await client.models.retrieve("chat")).owned_by == "trident"

    run(check())
