"""Promises of `embed`: any number of texts in their order, over either protocol, with the errors of everything else."""

import asyncio

import numpy as np
import pytest

from trident.errors import DeadlineExceededError, InvalidRequestError, NotFoundError, TridentError, UnavailableError
from trident_client import AsyncClient, Retry

from .scripted_server import Embed, Hang, Refuse, Say

AWAY = Refuse("UNAVAILABLE", 503, "the server is not ready")


def rows(*values):
    """An answer with a row for each value."""
    return [Embed(tuple((float(value), 0.5) for value in values), tuple(range(2, 2 + len(values))))]


def test_the_vectors_and_counts_of_a_text_come_back(server, client):
    server.script = rows(0.25)
    found = client.embed("river", request_id="a")
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[0.25, 0.5]]
    assert found.num_tokens == (2,)
    seen = server.requests[-1]
    assert (seen["id"], seen["model"], seen["inputs"], seen["shapes"]) == (
        "a", "embedding", {"text": ["river"]}, {"text": [1, 1]},
    )  # fmt: skip


def test_many_texts_travel_a_few_at_a_time_and_keep_their_order(server, client):
    """They are asked at once and may arrive in any order; each text gets what its own request was answered."""
    server.scripts = [rows(*range(8)), rows(*range(8, 16))]
    texts = [f"text {number}" for number in range(16)]
    found = client.embed(texts, model="other")
    arrived = [text for seen in server.requests for text in seen["inputs"]["text"]]
    assert sorted(arrived) == sorted(texts)
    assert found.vectors[:, 0].tolist() == [arrived.index(text) for text in texts]
    assert found.num_tokens == (*range(2, 10), *range(2, 10))
    assert [len(seen["inputs"]["text"]) for seen in server.requests] == [8, 8]
    assert {seen["model"] for seen in server.requests} == {"other"}


def test_what_a_server_that_is_away_did_not_answer_is_asked_again(server, client):
    server.scripts = [[AWAY]]
    server.script = rows(1)
    assert client.embed("river").vectors.tolist() == [[1.0, 0.5]]
    assert len(server.requests) == 2


def test_what_is_wrong_is_not_asked_again(server, client):
    server.script = [Refuse("INVALID_ARGUMENT", 400, "text is not UTF-8: must be so")]
    with pytest.raises(InvalidRequestError, match="text is not UTF-8"):
        client.embed("river")
    assert len(server.requests) == 1


def test_a_model_that_is_not_there_is_not_found(server, client):
    server.script = [Refuse("NOT_FOUND", 404, "Request for unknown model: 'embedding' is not found")]
    with pytest.raises(NotFoundError):
        client.embed("river")


def test_a_request_ends_at_its_deadline(server, client):
    server.script = [Hang()]
    with pytest.raises(DeadlineExceededError, match=r"0\.2 s are over"):
        client.embed("river", timeout_s=0.2)


def test_an_answer_without_vectors_is_an_error_of_ours(server, client):
    server.script = [Say("nothing")]
    with pytest.raises(TridentError):
        client.embed("river")


@pytest.mark.parametrize("texts", [[], ["a", 1], [None], ["\ud800"]])
def test_what_is_no_text_is_not_sent(server, client, texts):
    with pytest.raises(InvalidRequestError):
        client.embed(texts)
    assert server.requests == []


def test_of_two_servers_the_one_that_is_there_answers(server, protocol, url):
    async def ask():
        async with AsyncClient(["127.0.0.1:9", url], protocol, retry=Retry(first_wait_s=0.01)) as client:
            return [await client.embed("river") for _ in range(4)]

    server.script = rows(1)
    assert all(found.vectors.tolist() == [[1.0, 0.5]] for found in asyncio.run(ask()))


def test_without_retries_a_server_that_is_away_is_told_at_once(server, url, protocol):
    async def ask():
        async with AsyncClient(url, protocol, retry=Retry(0)) as client:
            await client.embed("river")

    server.script = [AWAY]
    with pytest.raises(UnavailableError):
        asyncio.run(ask())
    assert len(server.requests) == 1
