"""A whole gateway inside the test whose model answers from documents: scripted deployments, words for tokens."""

import json
from contextlib import asynccontextmanager

from tests.unit.gateway.openai_api.stored_app import KeyIsTenant, TalkingClient, TalkingUpstreams, served
from tests.unit.gateway.retrieval.word_vectors import WordModel
from trident.errors import PromptTooLongError
from trident.gateway.config_file import parse_config
from trident.gateway.gateway import Gateway

ROUTE = {"collection": "insects", "min_score": 0.1}


class WordUpstreams(TalkingUpstreams):
    """They embed too, and count a prompt's words."""

    def __init__(self, *script, max_model_len=10_000):
        super().__init__(main=list(script))
        self.words = WordModel()
        self.max_model_len = max_model_len
        self.num_counted = 0

    def __getitem__(self, name):
        return WordClient(name, self)


class WordClient(TalkingClient):
    async def embed(self, texts, **_):
        return await self._upstreams.words.read(list(texts))

    async def infer(self, request):
        values = {each.name: each.values[0] for each in request.inputs}
        self._upstreams.num_counted += 1
        number = sum(len(str(message["content"]).split()) for message in json.loads(values["MESSAGES"]))
        if number + values["REQUEST_OUTPUT_LEN"] > self._upstreams.max_model_len:
            raise PromptTooLongError(f"the prompt has {number} tokens")
        return {"INPUT_ID": tuple(range(number)), "REQUEST_INPUT_LEN": (number,)}


@asynccontextmanager
async def retrieval_app(folder, *script, route=ROUTE, collections=None, max_model_len=10_000, **values):
    """The gateway and a function that makes a tenant's HTTP client. Models: "chat", and "plain" without documents."""
    models = {
        "chat": {"deployments": {"main": 1}, **({} if route is None else {"retrieval": route})},
        "plain": {"deployments": {"main": 1}},
        "words": {"deployments": {"main": 1}, "operation": "embeddings"},
    }
    config = {
        "server": {"data": str(folder)},
        "deployments": {"main": {"url": "main:8001"}},
        "models": models,
        "collections": {"model": "words", "passage_tokens": 64} if collections is None else collections,
        **values,
    }
    gateway = Gateway(parse_config(config, environ={}))
    upstreams = WordUpstreams(*script, max_model_len=max_model_len)
    # The parts that were made with the real ones.
    for part in (gateway, gateway.text_models):
        name = "upstreams" if part is gateway else "_upstreams"
        setattr(part, name, upstreams)
    kept = gateway.retrieval._collections
    if kept is not None:
        kept.ingestion._read, kept.index._embed = upstreams.words.read, upstreams.words.embed
    gateway.authenticator = KeyIsTenant({})
    async with served(gateway) as client_of:
        yield gateway, client_of
