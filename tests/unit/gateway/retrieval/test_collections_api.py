"""`/v1/collections` over HTTP: a tenant's documents, and every bad one with one right answer."""

import json

from tests.unit.gateway.loop import run
from tests.unit.gateway.retrieval.retrieval_app import retrieval_app
from trident.errors import UnavailableError
from trident.gateway.identity import Identity, Limits

DOCUMENT = "/v1/collections/insects/documents/bees.md"


def with_client(folder, use, **arguments):
    async def inside():
        async with retrieval_app(folder, **arguments) as (gateway, client_of):
            return await use(client_of(), gateway, client_of)

    return run(inside())


async def error_of(answer):
    return answer.status_code, answer.json()["error"]


def test_a_document_is_put_listed_read_found_and_removed(tmp_path):
    async def use(client, gateway, client_of):
        put = (await client.put(DOCUMENT, json={"text": "# Honey\n\nBees make honey."})).json()
        assert (put["name"], put["passages"], put["embedded"], put["bytes"]) == ("bees.md", 1, 1, 25)
        (collection,) = (await client.get("/v1/collections")).json()["data"]
        assert (collection["name"], collection["documents"], collection["passages"]) == ("insects", 1, 1)
        (document,) = (await client.get("/v1/collections/insects/documents")).json()["data"]
        assert document["name"] == "bees.md"
        read = (await client.get(DOCUMENT)).json()
        assert read["data"] == [{"place": "lines 1-3, Honey", "text": "# Honey\n\nBees make honey."}]
        body = {"query": "Who makes honey?", "top_k": 3}
        (found,) = (await client.post("/v1/collections/insects/search", json=body)).json()["data"]
        assert (found["document"], found["place"]) == ("bees.md", "lines 1-3, Honey")
        assert (await client.delete(DOCUMENT)).json()["deleted"] is True
        assert (await client.post("/v1/collections/insects/search", json=body)).json()["data"] == []
        assert (await client.delete("/v1/collections/insects")).json()["deleted"] is True
        assert (await client.get("/v1/collections")).json()["data"] == []
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert set(paths["/v1/collections/{collection}/documents/{document}"]) == {"get", "put", "delete"}

    with_client(tmp_path, use)


READERS = [
    ("GET", DOCUMENT), ("DELETE", DOCUMENT), ("DELETE", "/v1/collections/insects"),
    ("GET", "/v1/collections/insects/documents"), ("POST", "/v1/collections/insects/search"),
]  # fmt: skip


def test_another_tenant_s_do_not_exist(tmp_path):
    """The answer is that of a name that nobody has."""

    async def use(client, gateway, client_of):
        await client.put(DOCUMENT, json={"text": "Bees make honey."})
        other = client_of("other")
        for method, path in READERS:
            body = {"query": "honey"} if method == "POST" else None
            foreign = await error_of(await other.request(method, path, json=body))
            unknown = await error_of(await other.request(method, path.replace("insects", "nothing"), json=body))
            assert foreign[0] == unknown[0] == 404
            assert str(foreign[1]).replace("insects", "nothing") == str(unknown[1])
        assert (await client.get(DOCUMENT)).status_code == 200
        assert (await other.get("/v1/collections")).json()["data"] == []

    with_client(tmp_path, use)


BAD_TEXTS = [
    ("", "has no words"), ("\0PNG", "is no text: character 0 is U+0000"), ("%PDF-1.4", "is a PDF file"),
    (None, "'text'"), (7, "'text'"),
]  # fmt: skip


def test_a_bad_document_is_refused_by_name(tmp_path):
    async def use(client, gateway, client_of):
        for text, complaint in BAD_TEXTS:
            status, error = await error_of(await client.put(DOCUMENT, json={"text": text}))
            assert (status, error["param"]) == (400, "text")
            assert complaint in error["message"]
        assert (await client.get("/v1/collections")).json()["data"] == []

    with_client(tmp_path, use)


def test_a_body_that_cannot_be_a_document_is_refused_before_it_is_read(tmp_path):
    """One of 50 MB with the bound, one that is not UTF-8 with the byte."""

    async def use(client, gateway, client_of):
        large = b'{"text":"' + b"bees " * (10 << 20) + b'"}'
        for data, status, complaint in (
            (large, 413, "larger than 1048576 bytes"), (b'{"text":"caf\xe9"}', 400, "not UTF-8: byte 12 is 0xe9"),
        ):  # fmt: skip
            answer = await client.put(DOCUMENT, content=data, headers={"content-type": "application/json"})
            found_status, error = await error_of(answer)
            assert found_status == status
            assert complaint in error["message"]

    with_client(tmp_path, use)


def test_any_file_s_name_and_any_brackets_are_taken(tmp_path):
    async def use(client, gateway, client_of):
        for name in ("a%20b.md", "folder/file.md", "folder%2Ffile2.md", "%C3%A4.txt", "what%3F.txt"):
            path = f"/v1/collections/insects/documents/{name}"
            put = await client.put(path, json={"text": "Bees " + "[{" * 500})
            assert put.status_code == 200
            assert (await client.get(path)).json()["name"] == put.json()["name"]

    with_client(tmp_path, use)


def test_a_key_without_the_scope_is_refused(tmp_path):
    async def use(client, gateway, client_of):
        async def authenticate(headers, address):
            return Identity("team", "key", endpoints=frozenset({"chat"}))

        gateway.authenticator.authenticate = authenticate
        status, error = await error_of(await client.get("/v1/collections"))
        assert (status, error["code"]) == (403, "endpoint_not_allowed")

    with_client(tmp_path, use)


def test_what_asks_the_embedding_model_counts_as_a_request(tmp_path):
    """So that a limited key embeds no more than it may; reading asks nobody."""

    async def use(client, gateway, client_of):
        async def authenticate(headers, address):
            return Identity("team", "key", key_limits=Limits(requests_per_minute=2))

        gateway.authenticator.authenticate = authenticate
        put = await client.put(DOCUMENT, json={"text": "Bees make honey."})
        assert put.headers["x-ratelimit-remaining-requests"] == "1"
        statuses = [
            (await client.post("/v1/collections/insects/search", json={"query": "honey"})).status_code for _ in range(2)
        ]
        assert statuses == [200, 429]
        assert (await client.put(DOCUMENT, json={"text": "Wasps."})).status_code == 429
        assert (await client.get(DOCUMENT)).status_code == 200

    with_client(tmp_path, use)


def test_where_collections_are_off_that_is_said(tmp_path):
    async def use(client, gateway, client_of):
        status, error = await error_of(await client.get("/v1/collections"))
        assert (status, error["code"]) == (404, "collections_off")

    with_client(tmp_path, use, route=None, collections={})


def test_an_embedding_model_that_is_away_is_told_as_such(tmp_path):
    async def use(client, gateway, client_of):
        gateway.upstreams.words.failure = UnavailableError("away")
        answer = await client.put(DOCUMENT, json={"text": "Bees."})
        assert answer.status_code == 503
        assert json.loads(answer.content)["error"]["code"] == "unavailable"

    with_client(tmp_path, use)
