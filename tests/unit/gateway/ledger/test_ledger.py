"""Every request that ends is a row, once, whatever the database does; what was said is kept by policy only."""

import asyncio

import pytest
from sqlalchemy import exc, select

from trident.errors import EngineError
from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.config import Deployment, LedgerSettings
from trident.gateway.database import Database
from trident.gateway.identity import ANONYMOUS
from trident.gateway.ledger.ledger import Ledger
from trident.gateway.ledger.tables import add_feedback, find_request, requests
from trident.gateway.ledger.usage import usage
from trident_client.completion import Completion
from trident_client.sampling import Sampling

SETTINGS = LedgerSettings()
DEPLOYMENTS = {"main": Deployment(url="127.0.0.1:1", version="7", price_per_s=0.5)}


def outcome_of(request_id, **changes):
    asked = Asked(request_id, ANONYMOUS, "chat", "chat", "smollm2", "write to jane@example.org", Sampling())
    outcome = Outcome(asked, Decision("smollm2", ("main",), ()), "main", Completion(request_id, "yes", "stop", 5, 2))
    outcome.started_at, outcome.duration_s, outcome.engine_s, outcome.cost = 1000.0, 2.0, 1.5, 0.25
    outcome.num_input_tokens, outcome.num_output_tokens = 5, 2
    for name, value in changes.items():
        setattr(outcome, name, value)
    return outcome


class Away:
    """A database that can be taken away."""

    def __init__(self, database):
        self.database = database
        self.is_away = False

    async def run(self, fn):
        def perhaps(connection):
            if self.is_away:
                raise exc.OperationalError("", {}, OSError("gone"))
            return fn(connection)

        return await self.database.run(perhaps)


@pytest.fixture
def deployed(tmp_path):
    """run(test): `test(ledger, database)` with both started."""

    def run(test, settings=SETTINGS):
        async def whole():
            database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
            await database.start()
            away = Away(database)
            ledger = Ledger(settings, tmp_path / "spool", away, DEPLOYMENTS, clock=lambda: 2000.0)
            await ledger.start()
            try:
                return await test(ledger, away)
            finally:
                await ledger.close()
                await database.close()

        return asyncio.run(whole())

    return run


async def rows(database):
    query = select(requests).order_by(requests.c.request_id)
    return await database.run(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def test_a_request_is_a_row_with_what_it_took(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a"))
        ledger.ended(outcome_of("b", error=EngineError("broke"), completion=None))
        ledger.ended(outcome_of("c", is_cancelled=True))
        await ledger.flush()
        return await rows(database)

    first, second, third = deployed(test)
    assert (first["tenant"], first["model"], first["deployment"], first["version"]) == (
        "default",
        "smollm2",
        "main",
        "7",
    )
    assert (first["num_input_tokens"], first["num_output_tokens"], first["finish_reason"]) == (5, 2, "stop")
    assert (first["price"], first["engine_s"], first["cost"]) == (0.25, 1.5, 0.75)
    assert first["ended_at"] == 1002.0
    assert (first["prompt"], first["answer"]) == (None, None)
    assert (second["finish_reason"], second["error"]) == ("error", "EngineError")
    assert third["finish_reason"] == "cancelled"


def test_nothing_is_lost_while_the_database_is_away_and_nothing_is_written_twice(deployed, tmp_path):
    async def test(ledger, database):
        for number in range(50):
            ledger.ended(outcome_of(f"before {number}"))
        await asyncio.sleep(0.6)
        database.is_away = True
        for number in range(50):
            ledger.ended(outcome_of(f"meanwhile {number}"))
        await asyncio.sleep(0.6)
        database.is_away = False
        await ledger.flush()
        ledger.ended(outcome_of("before 1"))  # a writer that died after the commit writes it again
        await ledger.flush()
        return await rows(database)

    found = deployed(test)
    assert len(found) == len({row["request_id"] for row in found}) == 100
    assert list((tmp_path / "spool").iterdir()) == []


def test_whatever_the_database_says_of_a_row_it_is_brought_again(deployed, monkeypatch):
    monkeypatch.setattr("trident.gateway.ledger.ledger._MAX_WAIT_S", 0.01)

    async def test(ledger, database):
        has_failed, is_brought, run = asyncio.Event(), asyncio.Event(), database.run

        async def fail_once(fn):
            if not has_failed.is_set():
                has_failed.set()
                raise ValueError("not what a driver should raise")
            await run(fn)
            is_brought.set()

        database.run = fail_once
        ledger.ended(outcome_of("kept"))
        await is_brought.wait()
        return [row["request_id"] for row in await rows(database.database)]

    assert deployed(test) == ["kept"]


def test_what_a_stop_could_not_bring_the_next_start_brings(deployed):
    async def stop(ledger, database):
        database.is_away = True
        ledger.ended(outcome_of("left"))

    async def start(ledger, database):
        await ledger.flush()
        return await rows(database)

    deployed(stop)
    assert [row["request_id"] for row in deployed(start)] == ["left"]


def test_a_spool_that_is_full_goes_on_in_memory(deployed):
    async def test(ledger, database):
        database.is_away = True
        for number in range(400):
            ledger.ended(outcome_of(f"{number:04}"))
        database.is_away = False
        await ledger.flush()
        return len(await rows(database)), ledger.num_lost

    assert deployed(test, LedgerSettings(spool_bytes=1 << 16)) == (400, 0)


@pytest.mark.parametrize(
    ("content", "prompt"),
    [("full", "write to jane@example.org"), ("redacted", "write to <EMAIL_ADDRESS>"), ("never", None)],
)
def test_what_was_said_is_kept_as_the_policy_says(deployed, tmp_path, content, prompt):
    if content == "redacted":
        pytest.importorskip("presidio_analyzer", reason="the extra 'safety' is not installed")

    async def end(ledger, database):
        ledger.ended(outcome_of("a"))
        ledger.ended(outcome_of("b", completion=Completion("b", "nul \0 and \ud800", "stop", 5, 2)))

    async def read(ledger, database):
        await ledger.flush()
        return await rows(database)

    deployed(end, LedgerSettings(content=content))
    first, second = deployed(read)
    assert (first["prompt"], first["answer"]) == (prompt, None if prompt is None else "yes")
    assert second["answer"] == (None if prompt is None else "nul � and ?")


def test_usage_sums_by_what_is_asked(deployed):
    async def test(ledger, database):
        for number in range(3):
            ledger.ended(outcome_of(f"{number}"))
        ledger.ended(outcome_of("other", deployment="", cost=0.0, engine_s=0.0, cache="exact"))
        await ledger.flush()
        judgement = {"request_id": "1", "tenant": "default", "created_at": 1.0, "thumb": None, "text": None}
        for key_id, score in (("one", 1.0), ("two", 0.0), ("two", 0.5)):
            row = {**judgement, "key_id": key_id, "score": score}
            await database.run(lambda connection, row=row: add_feedback(connection, row))
        foreign = await database.run(lambda connection: find_request(connection, "other", "1"))
        found = await database.run(lambda connection: usage(connection, ["tenant", "deployment"], 0, 2000))
        days = await database.run(lambda connection: usage(connection, ["day"], 0, 2000))
        return foreign, found, days

    foreign, (main, cached), (day,) = deployed(test)
    assert foreign is None
    assert (main["tenant"], main["deployment"], main["requests"], main["price"]) == ("default", "main", 3, 0.75)
    assert (main["engine_s"], main["cost"], main["output_tokens"]) == (4.5, 2.25, 6)
    assert (main["feedback"], main["score"]) == (1, 0.75)
    assert (cached["deployment"], cached["requests"], cached["cache_hits"]) == ("", 1, 1)
    assert (day["day"], day["requests"]) == (0, 4)


def test_what_is_older_than_the_policy_keeps_is_forgotten(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("old", started_at=1000.0 - 3 * 86_400))
        ledger.ended(outcome_of("said", started_at=1000.0 - 86_400))
        ledger.ended(outcome_of("new"))
        await asyncio.sleep(1)  # the first sweep follows the first flush
        return await rows(database)

    found = deployed(test, LedgerSettings(content="full", days=2, content_days=0.5))
    assert [(row["request_id"], row["answer"]) for row in found] == [("new", "yes"), ("said", None)]
