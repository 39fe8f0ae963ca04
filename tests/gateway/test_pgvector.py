"""Vectors in a real PostgreSQL: two gateways share them, tenants do not, and its death is a miss."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from sqlalchemy import text

from tests.gateway.postgres import Postgres
from tests.unit.gateway.scripted_upstream import asked_for
from trident.errors import SettingsError, UnavailableError
from trident.gateway.cache.opening import open_cache
from trident.gateway.cache.pgvector_store import PgVectors
from trident.gateway.cache.semantic import SemanticCache
from trident.gateway.cache.store import Entry, Store
from trident.gateway.cache.vectors import Item
from trident.gateway.config import SemanticSettings
from trident.gateway.config_file import parse_config
from trident.gateway.database import Database
from trident.gateway.identity import Identity
from trident.gateway.router import Router
from trident.gateway.tenant_salt import TenantSalts
from trident.gateway.upstreams import Upstreams
from trident_client.completion import Delta

ROWS = np.random.default_rng(0).normal(size=(400, 384)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
QUESTION, ALIKE = "How do I reset my password?", "What is the way to reset my password?"


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    server.start()
    yield server
    server.stop()


def item(key, row=0, namespace="n", ttl_s=60.0, **changes):
    return Item(namespace, key, ROWS[row], "{}", ttl_s, **{"tenant": "t", **changes})


def with_vectors(postgres, work, max_entries=1000):
    """`work` with two gateways' views of one empty table."""

    async def run():
        databases = [Database(postgres.url) for _ in range(2)]
        try:
            both = [PgVectors(database, max_entries) for database in databases]
            await asyncio.gather(*[vectors.start() for vectors in both])
            await both[0].drop()
            return await work(*both)
        finally:
            for database in databases:
                await database.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_what_one_gateway_adds_another_finds_in_the_same_namespace_alone(postgres):
    async def work(one, other):
        for number in range(40):
            await one.add(item(str(number), number, "ab"[number % 2]))
        near = await other.nearest("a", ROWS[4], 3)
        assert near[0][:1] == ("4",)
        assert near[0].cosine == pytest.approx(1.0, abs=1e-3)
        expected = sorted(range(0, 40, 2), key=lambda number: -float(ROWS[number] @ ROWS[4]))[:3]
        assert [int(each.key) for each in near] == expected
        assert await other.nearest("c", ROWS[4], 3) == []
        assert await other.nearest("a", ROWS[4][:100], 3) == []
        return await other.count()

    assert with_vectors(postgres, work) == 40


def test_a_key_is_kept_once_and_not_after_its_time(postgres):
    async def work(one, other):
        await one.add(item("a", 0))
        await other.add(item("a", 1))
        assert [near.key for near in await one.nearest("n", ROWS[1], 5)] == ["a"]
        await one.add(item("a", 1, ttl_s=0.0))
        return await one.nearest("n", ROWS[1], 5), await one.count()

    assert with_vectors(postgres, work) == ([], 0)


def test_the_oldest_leave_when_there_are_too_many(postgres):
    async def work(one, _):
        for number in range(200):
            await one.add(item(str(number), number))
        return await one.count(), (await one.nearest("n", ROWS[199], 1))[0].key

    assert with_vectors(postgres, work, max_entries=50) == (50, "199")


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ({"key": "a"}, ["b", "c"]), ({"prefix": "he%"}, ["a", "b"]), ({"model": "m"}, ["b", "c"]),
        ({"tag": "x"}, ["a", "c"]), ({"tenant": "u"}, ["a", "b"]), ({"tenant": "t", "model": "n"}, ["a", "c"]),
        ({}, []),
    ],
)  # fmt: skip
def test_they_are_dropped_by_key_prefix_model_tag_and_tenant(postgres, what, left):
    async def work(one, other):
        await one.add(item("a", 0, model="m", prompt="hello"))
        await one.add(item("b", 1, model="n", tags=frozenset({"x", "y\0"})))
        await one.add(item("c", 2, tenant="u", prompt="he%lo\0\ud800"))
        dropped = await other.drop(**what)
        found = sorted(near.key for near in await one.nearest("n", ROWS[0], 9))
        assert sorted([*dropped, *found]) == ["a", "b", "c"]
        return found

    assert with_vectors(postgres, work) == left


def semantic(vectors):
    async def embed(texts):
        return ROWS[:1]

    settings = SemanticSettings(enabled=True, model="e", store="postgres", timeout_s=10)
    return SemanticCache(settings, vectors, embed, Store(1 << 20))


def probe_of(cache, tenant="t"):
    asked = asked_for(prompt=[{"role": "user", "content": ALIKE}], identity=Identity(tenant, "key"))
    return cache.probe(asked, "chat", "main", "e1")


def test_a_whole_answer_is_shared_with_the_tenant_on_another_gateway_only(postgres):
    deltas = (Delta("a"), Delta("b", "stop", 4, 2))

    async def work(one, other):
        mine, theirs = semantic(one), semantic(other)
        probe = probe_of(mine)
        probe.question = QUESTION
        mine.remember(Entry("k", "t", "chat", QUESTION, frozenset(), deltas, 60), probe)
        await mine.settle()
        stranger = probe_of(theirs, "u")
        assert await theirs.find(stranger) is None
        stranger.namespace = probe.namespace  # were it ever to come there
        assert await theirs.find(stranger) is None
        return await theirs.find(probe_of(theirs))

    found = with_vectors(postgres, work)
    assert (found.key, found.deltas) == ("k", deltas)


def test_a_database_that_dies_is_a_miss_and_a_hit_when_it_is_back(postgres):
    async def work(one, _):
        cache = semantic(one)
        probe = probe_of(cache)
        cache.remember(Entry("k", "t", "chat", QUESTION, frozenset(), (Delta("a", "stop"),), 60), probe)
        await cache.settle()
        postgres.kill()
        with pytest.raises(UnavailableError):
            await one.count()
        assert await cache.find(probe_of(cache)) is None
        assert (await cache.figures())["vectors"] is None
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(1)  # it rests so long
        return await cache.find(probe_of(cache))

    assert with_vectors(postgres, work).key == "k"


def test_the_file_s_store_is_the_one_that_is_opened(postgres):
    semantic = {"enabled": True, "model": "e", "store": "postgres"}
    values = {
        "server": {"database": postgres.url},
        "cache": {"enabled": True, "semantic": semantic},
        "deployments": {"d": {"url": "d:8001"}},
        "models": {"e": {"deployments": {"d": 1}, "operation": "embeddings"}},
    }

    async def work(one, _):
        await one.add(item("a"))
        config, database = parse_config(values, environ={}), Database(postgres.url)
        upstreams = Upstreams(config.deployments, TenantSalts(config.server))
        cache = open_cache(config, Router(config), upstreams, database, lambda _: None)
        try:
            await cache.start()
            return (await cache.semantic.figures())["vectors"], await cache.drop(tenant="t")
        finally:
            await cache.close()
            await database.close()

    assert with_vectors(postgres, work) == (1, 1)


def test_an_account_that_cannot_have_pgvector_is_told_at_the_start(postgres):
    async def start():
        owner = Database(postgres.url)
        await owner.run(lambda connection: connection.execute(text("CREATE ROLE plain LOGIN")))
        await owner.close()
        plain = Database(postgres.url.replace("trident@", "plain@").replace("/postgres", "/template1"))
        try:
            await PgVectors(plain, 10).start()
        finally:
            await plain.close()

    with pytest.raises(SettingsError, match=r"needs pgvector.*permission denied"):
        asyncio.run(start())
