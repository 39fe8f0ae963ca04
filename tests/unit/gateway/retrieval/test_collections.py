"""Documents are embedded once, kept by their tenant, found by every worker, and never in part."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from tests.unit.gateway.loop import run, until
from tests.unit.gateway.retrieval.word_vectors import WordModel
from trident.errors import InvalidRequestError, NotFoundError, UnavailableError
from trident.gateway.cache.memory_vectors import MemoryVectors
from trident.gateway.database import Database, metadata
from trident.gateway.retrieval import collection_store
from trident.gateway.retrieval.collection_index import CollectionIndex
from trident.gateway.retrieval.collection_store import CollectionStore
from trident.gateway.retrieval.ingestion import Ingestion
from trident.gateway.retrieval.settings import CollectionSettings
from trident.gateway.retrieval.tables import collections, documents, passages
from trident_client import Embeddings

BEES = "Bees make honey.\n\nWasps make paper."
TABLES = (collections, documents, passages)
LONG = "\n\n".join(f"Paragraph {number} tells of insect{number} and its {number} legs." for number in range(100))


class Worker:
    """One process of a gateway: the database is shared, the index its own."""

    def __init__(self, folder: Path, **settings):
        self.settings = CollectionSettings(**{"model": "words", "passage_tokens": 32, "poll_s": 0.02, **settings})
        self.model = WordModel(self.settings.passage_tokens)
        self.database = Database(f"sqlite:///{folder / 'gateway.db'}")
        self.store = CollectionStore(self.database)
        self.index = CollectionIndex(
            self.store, MemoryVectors(10**6), self.model.embed, self.settings.model, self.settings.poll_s
        )
        self.ingestion = Ingestion(self.settings, self.store, self.index, self.model.read)

    async def add(self, text=BEES, name="bees.md", tenant="team", collection="insects"):
        added = await self.ingestion.add(tenant, collection, name, text)
        return added.row.num_passages, added.num_embedded

    async def find(self, question="honey", tenant="team", collection="insects", k=3):
        found = await self.index.find(tenant, collection, question, k)
        return [(each.document, each.text) for each in found.passages]

    async def version(self, tenant="team"):
        return (await self.index.find(tenant, "insects", "x", 1)).version


@asynccontextmanager
async def worker(folder, **settings):
    started = Worker(folder, **settings)
    await started.database.start()
    await started.index.start()
    try:
        yield started
    finally:
        await started.index.close()
        await started.database.close()


def with_worker(folder, use, **settings):
    async def inside():
        async with worker(folder, **settings) as started:
            return await use(started)

    return run(inside())


def test_what_was_added_is_found_with_its_place_and_score(tmp_path):
    async def use(one):
        assert await one.add("# Honey\n\nBees make honey.\n") == (1, 1)
        found = await one.index.find("team", "insects", "bees make honey", 5)
        (passage,) = found.passages
        assert (passage.document, passage.place, passage.text) == (
            "bees.md", "lines 1-3, Honey", "# Honey\n\nBees make honey.",
        )  # fmt: skip
        assert 0.8 < passage.score <= 1

    with_worker(tmp_path, use)


def test_a_restart_embeds_nothing_and_loses_nothing(tmp_path):
    with_worker(tmp_path, lambda one: one.add(LONG))

    async def use(again):
        assert again.model.texts == []
        assert "insect42" in (await again.find("insect42", k=1))[0][1]
        assert again.model.texts == ["insect42"]

    with_worker(tmp_path, use)


def test_the_same_document_again_embeds_nothing_and_is_the_same_version(tmp_path):
    async def use(one):
        num_passages, _ = await one.add(LONG)
        version = await one.version()
        assert await one.add(LONG) == (num_passages, 0)
        assert await one.version() == version

    with_worker(tmp_path, use)


def test_a_changed_document_takes_the_place_of_the_old_and_embeds_what_is_new(tmp_path):
    async def use(one):
        num_passages, _ = await one.add(LONG)
        version = await one.version()
        changed = LONG.replace("insect99 and", "beetle99 and")
        num_now, num_embedded = await one.add(changed)
        assert num_now == num_passages
        assert 1 <= num_embedded <= 2
        assert await one.version() != version
        assert "beetle99" in (await one.find("beetle99", k=1))[0][1]
        assert all("insect99" not in text for _, text in await one.find("insect99", k=50))

    with_worker(tmp_path, use)


def test_no_passage_is_longer_than_the_model_reads(tmp_path):
    """The estimate takes words of four letters for one token each; this model makes one of every number too."""

    async def use(one):
        await one.add("".join(f"a{number}.b-" for number in range(500)), name="odd.txt")
        kept = await one.store.documents("team", "insects")
        for row in await one.store.passages("team", kept[0].id):
            assert (await one.model.read([row.text])).num_tokens[0] < 32

    with_worker(tmp_path, use)


def test_tenants_have_collections_of_their_own_by_the_same_name(tmp_path):
    async def use(one):
        await one.add("Our honey is secret.", tenant="team")
        await one.add("Their honey is famous.", tenant="other")
        assert await one.find(tenant="team") == [("bees.md", "Our honey is secret.")]
        assert await one.find(tenant="other") == [("bees.md", "Their honey is famous.")]
        for work in (
            one.index.find("third", "insects", "honey", 1), one.store.documents("third", "insects"),
            one.store.document("third", "insects", "bees.md"), one.store.remove("third", "insects", "bees.md"),
            one.store.remove_collection("third", "insects"),
        ):  # fmt: skip
            with pytest.raises(NotFoundError):
                await work
        kept = await one.store.documents("team", "insects")
        assert await one.store.passages("other", kept[0].id) == []

    with_worker(tmp_path, use)


def test_another_worker_finds_new_documents_and_loses_those_that_are_removed(tmp_path):
    async def use(one):
        async with worker(tmp_path) as other:
            await one.add()
            assert await until(lambda: _found(other)) == await one.find()
            assert other.model.texts[0] == "honey"  # questions alone are embedded
            await one.store.remove("team", "insects", "bees.md")
            await until(lambda: _is(other, []))
            await one.store.remove_collection("team", "insects")
            await until(lambda: _is(other, None))

    with_worker(tmp_path, use)


async def _found(one):
    try:
        return await one.find()
    except NotFoundError:
        return None


async def _is(one, found):
    return await _found(one) == found


def test_a_collection_that_is_made_anew_is_no_version_of_the_old(tmp_path):
    async def use(one):
        await one.add()
        before = await one.version()
        await one.store.remove_collection("team", "insects")
        await one.add()
        assert await one.version() != before
        assert len(await one.find(k=50)) == 1

    with_worker(tmp_path, use)


def test_nothing_is_kept_of_a_document_that_does_not_come_in_whole(tmp_path):
    async def use(one):
        one.model.failure = UnavailableError("away")
        with pytest.raises(UnavailableError):
            await one.add()
        assert await one.store.collections("team") == []

    with_worker(tmp_path, use)


def test_a_tenant_has_so_many_passages_and_no_more(tmp_path):
    async def use(one):
        await one.add("One.", name="one")
        await one.add("Two.", name="two")
        with pytest.raises(InvalidRequestError, match="together at most 2 are kept") as caught:
            await one.add("Three.", name="three")
        assert caught.value.code == "too_many_passages"
        assert await one.add("Other.", name="two") == (1, 1)  # in place of another it fits
        await one.add("Three.", name="three", tenant="other")

    with_worker(tmp_path, use, max_tenant_passages=2)


def test_a_tenant_has_so_many_collections_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(collection_store, "MAX_COLLECTIONS", 2)

    async def use(one):
        for name in ("a", "b", "a"):
            await one.add(collection=name)
        with pytest.raises(InvalidRequestError, match="at most 2 collections: remove one first"):
            await one.add(collection="c")
        await one.add(collection="c", tenant="other")

    with_worker(tmp_path, use)


def test_another_embedding_model_is_refused_before_its_vectors_are_compared(tmp_path):
    with_worker(tmp_path, lambda one: one.add())

    async def use(one):
        for work in (one.find(), one.add("New words.", name="new")):
            with pytest.raises(InvalidRequestError, match=r"was embedded by .*remove it and add its documents again"):
                await work

    with_worker(tmp_path, use, model="sentences")


def test_a_document_that_has_not_changed_is_no_more_welcome_under_another_model(tmp_path):
    """It would be said to be there, and never be found."""
    with_worker(tmp_path, lambda one: one.add())

    async def use(one):
        with pytest.raises(InvalidRequestError, match="this gateway embeds by 'sentences'"):
            await one.add()
        assert one.model.texts == []

    with_worker(tmp_path, use, model="sentences")


def test_vectors_of_other_dimensions_come_into_no_collection_that_has_some(tmp_path):
    """As when the model's name came to mean another model: not beside others, not in a document that is changed."""

    async def use(one):
        await one.add()

        async def read(texts):
            return Embeddings(np.ones((len(texts), 3), np.float32), (1,) * len(texts))

        one.ingestion._read = read
        for name in ("new.md", "bees.md"):
            with pytest.raises(InvalidRequestError, match="by another of that name; remove it and add"):
                await one.add(BEES + "\n\n" + LONG, name=name)
        assert [name for name, _ in await one.find()] == ["bees.md"]

    with_worker(tmp_path, use)


def test_what_was_read_before_the_database_went_away_is_forgotten_with_its_document(tmp_path):
    """A worker that was half way through a new collection finds nothing of what was removed since."""

    async def use(one):
        for name in ("bees.md", "wasps.md"):
            await one.add(name=name)
        late = Worker(tmp_path)
        await late.database.start()
        read, passages_of = [], late.store.passages

        async def passages_once(tenant, document_id):
            if read:
                raise UnavailableError("the database is away")
            read.append(document_id)
            return await passages_of(tenant, document_id)

        late.store.passages = passages_once
        with pytest.raises(UnavailableError):
            await late.index.follow()
        late.store.passages = passages_of
        (gone,) = [row.name for row in await one.store.documents("team", "insects") if row.id == read[0]]
        await one.store.remove("team", "insects", gone)
        await late.index.follow()
        assert [name for name, _ in await late.find()] == [({"bees.md", "wasps.md"} - {gone}).pop()]
        await late.database.close()

    with_worker(tmp_path, use)


def test_a_name_that_no_database_can_hold_is_nobody_s():
    """PostgreSQL fails at a NUL; it is not asked."""

    class Unasked:
        async def run(self, fn):
            return fn(None)

    async def use():
        store = CollectionStore(Unasked())
        for work in (
            store.documents("team", "a\0"), store.document("team", "a\0", "b"), store.remove("team", "a\0", "b"),
            store.remove_collection("team", "a\0"),
        ):  # fmt: skip
            with pytest.raises(NotFoundError):
                await work

    run(use())


def test_an_engine_of_other_dimensions_is_refused_too(tmp_path):
    async def use(one):
        await one.add()

        async def embed(texts):
            return np.ones((len(texts), 3), np.float32)

        one.index._embed = embed
        with pytest.raises(InvalidRequestError, match="512 dimensions"):
            await one.find()

    with_worker(tmp_path, use)


def test_while_the_database_is_away_what_is_known_is_found(tmp_path):
    async def use(one):
        await one.add()

        async def away(_):
            raise UnavailableError("the database is away")

        one.store._database.run = away
        await asyncio.sleep(0.1)  # some rounds of asking it
        assert (await one.find())[0][0] == "bees.md"

    with_worker(tmp_path, use)


def test_migrations_make_the_tables_that_the_code_declares(tmp_path):
    """A column that only one of the two knows would be found here."""
    names = {table.name for table in TABLES}

    def differences(connection):
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        return [each for each in found if names & {str(getattr(part, "name", part)) for part in each}]

    assert with_worker(tmp_path, lambda one: one.database.run(differences)) == []


def test_every_row_has_its_tenant(tmp_path):
    async def use(one):
        await one.add()

        def tenants(connection):
            return [set(connection.execute(select(table.c.tenant)).scalars()) for table in TABLES]

        assert await one.database.run(tenants) == [{"team"}] * 3

    with_worker(tmp_path, use)


def test_counts_are_of_the_tenant_s_own(tmp_path):
    async def use(one):
        await one.add(LONG)
        await one.add(name="second")
        await one.add(tenant="other")
        (row,) = await one.store.collections("team")
        passages = [each.num_passages for each in await one.store.documents("team", "insects")]
        assert (row.name, row.num_documents, row.num_passages) == ("insects", 2, sum(passages))

    with_worker(tmp_path, use)
