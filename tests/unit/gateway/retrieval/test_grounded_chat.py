"""A chat that is answered from documents, by OpenAI's own client: what it is given, what it cites, what it costs."""

from contextlib import asynccontextmanager

import httpx
import openai
import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.retrieval.retrieval_app import ROUTE, retrieval_app
from tests.unit.gateway.scripted_upstream import asked_for, words
from tests.unit.gateway.semantic_gateway import ALIKE, ASKED, Semantic
from trident.errors import SettingsError, UnavailableError
from trident.gateway.cache.key import cache_key
from trident.gateway.config_file import parse_config
from trident.gateway.retrieval.settings import ModelRetrieval
from trident_client.completion import Delta

USER = [{"role": "user", "content": "What do bees make?"}]
ANSWER = words("Bees make honey ", "[", "1]", ", not paper [2] [9].")
INSECTS = {"bees.md": "Bees make honey.", "wasps.md": "Wasps make paper, and bees do not."}


@asynccontextmanager
async def sdk(folder, *script, documents=INSECTS, tenant="team", **arguments):
    """OpenAI's client of a gateway whose tenant "team" has those documents; and the gateway, and its HTTP client."""
    async with retrieval_app(folder, *(script or ANSWER), **arguments) as (gateway, client_of):
        http = client_of("team")
        for name, text in documents.items():
            (await http.put(f"/v1/collections/insects/documents/{name}", json={"text": text})).raise_for_status()
        async with openai.AsyncOpenAI(
            api_key=tenant, base_url="http://gateway/v1", max_retries=0,
            http_client=httpx.AsyncClient(transport=http._transport),
        ) as client:  # fmt: skip
            yield client, gateway, http


def ask(client, model="chat", retrieval=None, **fields):
    extra = {} if retrieval is None else {"retrieval": retrieval}
    body = {"model": model, "messages": USER, "max_tokens": 8, "temperature": 0, **fields}
    return client.chat.completions.create(**body, extra_body=extra)


def prompts_of(gateway):
    return [each[1] for each in gateway.upstreams.asked]


def with_sdk(folder, use, **arguments):
    async def inside():
        async with sdk(folder, **arguments) as (client, gateway, http):
            return await use(client, gateway, http)

    return run(inside())


def test_the_answer_says_which_passages_it_was_given_and_which_it_cites(tmp_path):
    async def use(client, gateway, http):
        answer = await ask(client)
        message = answer.choices[0].message
        assert message.content == "Bees make honey [1], not paper [2] [9]."
        cited = [each.url_citation for each in message.annotations]
        assert [message.content[each.start_index : each.end_index] for each in cited] == ["[1]", "[2]"]
        assert [each.title for each in cited] == ["bees.md, line 1", "wasps.md, line 1"]
        assert (await http.get(cited[0].url)).json()["data"][0]["text"] == "Bees make honey."
        given = answer.model_extra["retrieval"]
        assert given["collection"] == "insects"
        assert [each["document"] for each in given["passages"]] == ["bees.md", "wasps.md"]
        (prompt,) = prompts_of(gateway)
        assert prompt[-1]["content"].endswith("Question: What do bees make?")
        assert '<passage number="1" from="bees.md, line 1">\nBees make honey.\n</passage>' in prompt[-1]["content"]

    with_sdk(tmp_path, use)


def test_a_stream_tells_the_same_in_the_last_chunk_before_the_usage(tmp_path):
    async def use(client, gateway, http):
        whole = await ask(client)
        stream = await ask(client, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        last, usage = chunks[-2:]
        assert usage.usage is not None
        assert last.choices[0].finish_reason == "stop"
        assert last.choices[0].delta.model_extra["annotations"] == [
            each.model_dump() for each in whole.choices[0].message.annotations
        ]
        assert last.model_extra["retrieval"] == whole.model_extra["retrieval"]
        assert not any((chunk.model_extra or {}).get("retrieval") for chunk in chunks[:-2])
        assert (
            "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
        )

    with_sdk(tmp_path, use)


def test_a_model_without_documents_is_as_ever(tmp_path):
    async def use(client, gateway, http):
        answer = await ask(client, model="plain")
        assert answer.choices[0].message.annotations is None
        assert "retrieval" not in (answer.model_extra or {})
        assert prompts_of(gateway) == [USER]
        assert gateway.upstreams.num_counted == 0

    with_sdk(tmp_path, use)


def test_a_request_may_do_without(tmp_path):
    async def use(client, gateway, http):
        await ask(client, retrieval={"top_k": 0})
        assert prompts_of(gateway) == [USER]

    with_sdk(tmp_path, use)


def test_a_request_may_name_the_collection_and_ask_for_less(tmp_path):
    async def use(client, gateway, http):
        assert "retrieval" not in ((await ask(client)).model_extra or {})
        answer = await ask(client, retrieval={"collection": "insects", "top_k": 1})
        assert [each["document"] for each in answer.model_extra["retrieval"]["passages"]] == ["bees.md"]
        none = await ask(client, retrieval={"collection": "insects", "min_score": 1.0})
        assert none.model_extra["retrieval"]["passages"] == []
        assert none.choices[0].message.annotations == []

    with_sdk(tmp_path, use, route={"min_score": 0.1})


WRONG_WISHES = [
    ("plain", {"collection": "insects"}, 400, "retrieval", r"set no \[models\.plain\.retrieval\]"),
    ("chat", {"collection": "nothing"}, 404, "collection", "there is no collection 'nothing'"),
    ("chat", {"collection": ""}, 400, "retrieval.collection", "at least 1 character"),
    ("chat", {"top_k": 51}, 400, "retrieval.top_k", "less than or equal to 50"),
    ("chat", {"template": "mine"}, 400, "retrieval.template", "unknown field"),
    ("chat", "insects", 400, "retrieval", "'retrieval'"),
    ("nobody", {"collection": "insects"}, 404, "model", "does not exist"),
]


def test_a_wish_that_cannot_be_is_refused_by_name(tmp_path):
    async def use(client, gateway, http):
        for model, retrieval, status, param, complaint in WRONG_WISHES:
            with pytest.raises(openai.APIStatusError, match=complaint) as caught:
                await ask(client, model=model, retrieval=retrieval)
            assert (caught.value.status_code, caught.value.param) == (status, param)
        assert prompts_of(gateway) == []

    with_sdk(tmp_path, use)


def test_without_a_collection_in_the_file_a_request_has_to_name_one(tmp_path):
    async def use(client, gateway, http):
        with pytest.raises(openai.BadRequestError, match=r"'retrieval\.collection' is required"):
            await ask(client, retrieval={"top_k": 3})

    with_sdk(tmp_path, use, route={})


def test_another_tenant_gets_nothing_of_it(tmp_path):
    async def use(client, gateway, http):
        for retrieval in (None, {"collection": "insects"}):
            with pytest.raises(openai.NotFoundError) as caught:
                await ask(client, retrieval=retrieval)
            assert caught.value.code == "collection_not_found"
        assert prompts_of(gateway) == []

    with_sdk(tmp_path, use, tenant="other")


def test_an_answer_is_never_given_again_when_its_documents_have_changed(tmp_path):
    """The same chat is cached until a document comes, changes or goes, also one that is not among its passages."""

    async def use(client, gateway, http):
        gateway.router.engine_at = lambda _: "e1"
        gateway.cache._engine_at = lambda _: "e1"

        async def how(**fields):
            raw = await client.chat.completions.with_raw_response.create(
                model="chat", messages=USER, max_tokens=8, temperature=0, **fields
            )
            return raw.headers["x-trident-cache"]

        assert [await how(), await how()] == ["miss", "exact"]
        await http.put("/v1/collections/insects/documents/stars.md", json={"text": "Stars shine at night."})
        assert [await how(), await how()] == ["miss", "exact"]
        await http.put("/v1/collections/insects/documents/bees.md", json={"text": "Bees make wax."})
        assert [await how(), await how()] == ["miss", "exact"]
        await http.delete("/v1/collections/insects/documents/stars.md")
        assert await how() == "miss"
        assert await how(extra_body={"retrieval": {"top_k": 0}}) == "miss"

    with_sdk(tmp_path, use, cache={"enabled": True})


def test_other_passages_are_another_question_to_both_caches():
    """Also where all else is the same, as when a passage was replaced by one with the same words."""
    one, other = (asked_for(retrieval=scope) for scope in ("insects@a.1#x", "insects@a.2#x"))
    assert cache_key(one, "chat", "main", "e1") != cache_key(other, "chat", "main", "e1")
    assert run(Semantic().then(ALIKE, retrieval="insects@a.1#x")) == ["miss"]


def test_the_same_passages_make_no_two_questions_one():
    """Their words are in both prompts, whatever is asked, so the second gate could not tell the questions apart."""

    async def how():
        semantic, scope = Semantic(), "insects@a.1#x"
        return [(await semantic.ask(question, retrieval=scope))[1] for question in (ASKED, ALIKE, ALIKE)]

    assert run(how()) == ["miss", "miss", "exact"]


def test_what_is_reserved_is_the_prompt_with_its_passages(tmp_path):
    async def use(client, gateway, http):
        reserved = []
        reserve = gateway.limiter.reserve

        async def remembered(identity, num_tokens, cost):
            reserved.append(num_tokens)
            return await reserve(identity, num_tokens, cost)

        gateway.limiter.reserve = remembered
        await ask(client, model="plain")
        await ask(client)
        assert reserved[1] > reserved[0] + 40

    with_sdk(tmp_path, use)


def test_passages_that_do_not_fit_are_left_out_and_counted(tmp_path):
    """In what the file allows them, or in what the model takes beside the completion."""

    async def use(client, gateway, http):
        async def left_out(max_tokens=8, **wish):
            answer = await ask(client, max_tokens=max_tokens, retrieval=wish or None)
            return answer.model_extra["retrieval"]["left_out"]

        assert [await left_out(), await left_out(max_context_tokens=12), await left_out(max_context_tokens=1)] == [
            0,
            1,
            2,
        ]
        num_tokens = sum(len(message["content"].split()) for message in prompts_of(gateway)[0])
        gateway.upstreams.max_model_len = num_tokens + 8
        assert [await left_out(), await left_out(max_tokens=9), await left_out(max_tokens=24)] == [0, 1, 2]

    with_sdk(tmp_path, use)


def test_an_embedding_model_that_is_away_is_no_answer_without_documents(tmp_path):
    async def use(client, gateway, http):
        gateway.upstreams.words.failure = UnavailableError("away")
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(client)
        assert caught.value.status_code == 503
        assert prompts_of(gateway) == []

    with_sdk(tmp_path, use)


def test_several_choices_are_cited_each_by_itself(tmp_path):
    script = [
        Delta("A [1]", "stop", 4, 2, sequence_index=0), Delta("B [2]", "stop", 4, 2, sequence_index=1)
    ]  # fmt: skip

    async def inside():
        async with sdk(tmp_path, *script) as (client, _, _):
            answer = await ask(client, n=2)
            return [choice.message.annotations[0].url_citation.title for choice in answer.choices]

    assert run(inside()) == ["bees.md, line 1", "wasps.md, line 1"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"models": {"m": {"deployments": {"d": 1}, "retrieval": {}}}},
            "retrieval: .* set collections",
        ),
        ({"collections": {"model": "m"}}, "'m' is no model with operation = 'embeddings'"),
        ({"models": {"m": {"deployments": {"d": 1}, "retrieval": {"topk": 1}}}}, "did you mean 'top_k'"),
        ({"collections": {"modell": "m"}}, "did you mean 'model'"),
        ({"models": {"m": {"deployments": {"d": 1}, "operation": "embeddings", "retrieval": {}}}}, "nor retrieval"),
    ],
)
def test_a_file_that_cannot_be_is_refused(change, complaint):
    values = {"deployments": {"d": {"url": "d:1"}}, "models": {"m": {"deployments": {"d": 1}}}, **change}
    with pytest.raises(SettingsError, match=complaint):
        parse_config(values, environ={})


def test_a_template_that_is_not_there_stops_the_start(tmp_path):
    async def use(client, gateway, http):
        """Never."""

    with pytest.raises(SettingsError, match=r"models\.chat\.retrieval\.template: no prompt template 'x@1'"):
        with_sdk(tmp_path, use, route={**ROUTE, "template": "x@1"})


def rewritten(gateway, models):
    """The gateway's file with other models."""
    return gateway.config.model_copy(update={"models": {**gateway.config.models, **models}})


def test_a_rewritten_file_whose_chats_could_not_be_grounded_is_refused(tmp_path):
    """By a template that is not there, or without the model that embeds: what was before stays."""

    async def use(client, gateway, http):
        before = gateway.config
        unknown = before.models["chat"].model_copy(update={"retrieval": ModelRetrieval(template="x@1")})
        with pytest.raises(SettingsError, match=r"models\.chat\.retrieval\.template: no prompt template 'x@1'"):
            gateway.update(rewritten(gateway, {"chat": unknown}))
        with pytest.raises(SettingsError, match="'words' embeds the collections until the next start"):
            gateway.update(before.model_copy(update={"models": {"chat": before.models["chat"]}}))
        assert gateway.config is before
        assert (await ask(client)).model_extra["retrieval"]["passages"]

    with_sdk(tmp_path, use)


def test_a_rewritten_file_cannot_turn_documents_on(tmp_path):
    """The index is filled at the start: until the next one every chat of the model would be refused."""

    async def use(client, gateway, http):
        answers = gateway.config.models["chat"].model_copy(update={"retrieval": ModelRetrieval()})
        with pytest.raises(SettingsError, match=r"models\.chat\.retrieval: collections are off until the next start"):
            gateway.update(rewritten(gateway, {"chat": answers}))

    with_sdk(tmp_path, use, route=None, collections={}, documents={})
