"""Every request that ends is a row, once, whatever the database does; what was said is kept by policy only."""

import asyncio
import threading
from functools import partial

import pytest
from sqlalchemy import select

from tests.unit.gateway.ledger.outcomes import DEPLOYMENTS, outcome_of
from tests.unit.gateway.loop import until
from trident.errors import EngineError
from trident.gateway.config import LedgerSettings
from trident.gateway.ledger.redaction import Redaction
from trident.gateway.ledger.tables import add_feedback, find_request, requests
from trident.gateway.ledger.usage import usage
from trident.gateway.metrics import Metrics
from trident_client.completion import Completion


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


def test_where_the_file_says_no_version_it_is_the_engine_s_own(deployed):
    async def test(ledger, database):
        ledger.ended(outcome_of("a"))
        ledger.update({"main": DEPLOYMENTS["main"].model_copy(update={"version": ""})})
        ledger.ended(outcome_of("b"))
        ledger.ended(outcome_of("c", deployment="gone"))
        await ledger.flush()
        return [row["version"] for row in await rows(database)]

    assert deployed(test, served_at=lambda name: f"{name}@3") == ["7", "main@3", ""]


def test_nothing_is_lost_while_the_database_is_away_and_nothing_is_written_twice(deployed, tmp_path):
    async def test(ledger, database):
        for number in range(50):
            ledger.ended(outcome_of(f"before {number}"))
        await until(lambda: rows(database))
        database.is_away = True
        for number in range(50):
            ledger.ended(outcome_of(f"meanwhile {number}"))
        await until(lambda: database.num_refused)
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

        async def fail_once(fn, timeout_s=None):
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


def test_whatever_the_database_says_at_a_stop_the_next_start_brings_what_is_left(deployed):
    """The rest of the gateway is closed all the same."""

    async def stop(ledger, database):
        async def fail(fn, timeout_s=None):
            raise ValueError("not what a driver should raise")

        database.run = fail
        for number in range(3):
            ledger.ended(outcome_of(f"{number}"))

    async def start(ledger, database):
        await ledger.flush()
        return len(await rows(database))

    deployed(stop)
    assert deployed(start) == 3


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
            ledger.ended(outcome_of(f"{number}", started_at=1000.0 + 2 * number))
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
        async def is_swept():
            """The first sweep follows the first flush."""
            found = await rows(database)
            return found if len(found) == 2 else None

        ledger.ended(outcome_of("old", started_at=1000.0 - 3 * 86_400))
        ledger.ended(outcome_of("said", started_at=1000.0 - 86_400))
        ledger.ended(outcome_of("new"))
        return await until(is_swept)

    found = deployed(test, LedgerSettings(content="full", days=2, content_days=0.5))
    assert [(row["request_id"], row["answer"]) for row in found] == [("new", "yes"), ("said", None)]


def test_a_loss_is_a_metric_and_nobody_who_asks_notices(deployed, monkeypatch):
    """The database away, the spool full, and no memory left."""
    monkeypatch.setattr("trident.gateway.ledger.backlog.MAX_IN_MEMORY_BYTES", 0)
    metrics = Metrics()

    async def test(ledger, database):
        database.is_away = True
        for number in range(400):
            ledger.ended(outcome_of(f"{number:04}"))
        num_lost = ledger.num_lost
        database.is_away = False
        await ledger.flush()
        return num_lost, len(await rows(database))

    num_lost, num_kept = deployed(test, LedgerSettings(spool_bytes=1 << 16), lost=metrics.lost)
    assert (num_lost > 0, num_lost + num_kept) == (True, 400)
    assert f'trident_gateway_ledger_lost_total{{kind="fact"}} {float(num_lost)}' in metrics.page().decode()


def test_texts_that_cannot_be_redacted_in_time_are_left_out_and_their_requests_are_not(deployed, monkeypatch):
    may_go_on = threading.Event()

    def redact(text):
        may_go_on.wait(20)
        return text.replace("jane@example.org", "(redacted)")

    monkeypatch.setattr("trident.gateway.ledger.ledger.redactor", lambda: redact)
    monkeypatch.setattr("trident.gateway.ledger.ledger.Redaction", partial(Redaction, max_waiting_chars=60))

    async def test(ledger, database):
        for number in range(5):
            ledger.ended(outcome_of(f"{number}"))
        may_go_on.set()

    async def read(ledger, database):
        await ledger.flush()
        return await rows(database)

    lost = []
    deployed(test, LedgerSettings(content="redacted"), lost=lost.append)
    found = deployed(read)
    assert [row["request_id"] for row in found] == list("01234")
    kept = [row for row in found if row["prompt"] is not None]
    assert {row["prompt"] for row in kept} == {"write to (redacted)"}
    assert (len(lost), set(lost)) == (5 - len(kept), {"text"})
    assert 0 < len(kept) < 5
