"""A batch, however often what runs it is killed: every line answered once, in one of two files, in order."""

import asyncio
import json
import threading
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.gateway.loop import run, until
from trident.errors import NotFoundError, SettingsError
from trident.gateway.config import Storage
from trident.gateway.database import Database
from trident.gateway.identity import Identity, Limits
from trident.gateway.key_table import add_key, revoke_key
from trident.gateway.keys import ApiKey
from trident.gateway.openai_api import batch_run
from trident.gateway.openai_api.batch_client import Reply
from trident.gateway.openai_api.batch_object import batch_object, identity_of_batch, new_batch_id
from trident.gateway.openai_api.batch_run import INPUT, BatchRun
from trident.gateway.openai_api.batch_store import WINDOW_S, BatchStore, LeaseLostError
from trident.gateway.openai_api.file_store import FileStore
from trident_client.batch_output import AnswerFile

CHAT = "/v1/chat/completions"
OWNER = Identity(
    "acme", "key", models=frozenset({"m"}), endpoints=frozenset({"chat"}), groups=frozenset({"g"}),
    key_limits=Limits(requests_per_minute=5), tenant_limits=Limits(daily_budget=2.5),
)  # fmt: skip


class Bench:
    """A batch of `num_lines` lines, and what runs it. `now` is the wall clock; lines with "wrong" are refused."""

    def __init__(self, folder, database):
        self.now = 1000.0
        self.database = database
        self.folder = folder
        self.files = FileStore(database, folder / "files", Storage(), clock=lambda: self.now)
        self.store = BatchStore(database, self.files, Storage(), clock=lambda: self.now)
        self.asked = Counter()
        self.hang_at = None  # the line that never gets its answer

    async def create(self, num_lines, wrong=()):
        batch_id = new_batch_id()
        work = self.folder / batch_id
        work.mkdir()
        bodies = [{"n": number, "wrong": number in wrong} for number in range(num_lines)]
        lines = [{"custom_id": f"c{body['n']}", "method": "POST", "url": CHAT, "body": body} for body in bodies]
        (work / INPUT).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return await self.store.create(
            batch_id, OWNER, endpoint=CHAT, input_file_id="file-1", metadata={}, output_expires_s=None
        )

    async def ask(self, endpoint, body):
        self.asked[body["n"]] += 1
        if body["n"] == self.hang_at:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return Reply(400 if body["wrong"] else 200, "r", {"echo": body["n"]})

    async def run(self, row, runner="one", beat_s=0.01):
        claimed = await self.store.claim(row, runner)
        await BatchRun(
            claimed, runner, self.folder / row.id, store=self.store, files=self.files, ask=self.ask,
            num_at_once=3, max_line_bytes=1000, beat_s=beat_s, clock=lambda: self.now,
        ).run()  # fmt: skip

    async def hanging(self, num_lines, at):
        """A batch whose lines are answered, all but one, and the task that runs it."""
        row = await self.create(num_lines)
        self.hang_at = at
        task = asyncio.ensure_future(self.run(row))

        async def waits():
            return (await self.row(row)).completed == num_lines - 1

        await until(waits)
        return row, task

    async def hangs(self, task):
        """Until the run hangs at `hang_at`, or ends because that line was answered before."""
        await until(lambda: self.asked[self.hang_at] > 0 or task.done())

    async def row(self, row):
        return await self.store.get("acme", row.id)

    async def lines(self, file_id):
        if file_id is None:
            return []
        await self.files.get("acme", file_id)
        return [json.loads(line) for line in self.files.path_of(file_id).read_text().splitlines()]


@asynccontextmanager
async def bench_in(folder):
    database = Database(f"sqlite:///{folder / 'gateway.db'}")
    await database.start()
    try:
        yield Bench(folder, database)
    finally:
        await database.close()


def test_every_line_is_in_one_of_two_files_and_in_order(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(20, wrong={3, 17})
            await bench.run(row)
            shown = batch_object(await bench.row(row))
            assert (shown["status"], shown["request_counts"]) == (
                "completed",
                {"total": 20, "completed": 18, "failed": 2},
            )
            answers = await bench.lines(shown["output_file_id"])
            failures = await bench.lines(shown["error_file_id"])
            assert [each["custom_id"] for each in answers] == [f"c{n}" for n in range(20) if n not in {3, 17}]
            assert [each["custom_id"] for each in failures] == ["c3", "c17"]
            assert answers[0]["response"] == {"status_code": 200, "request_id": "r", "body": {"echo": 0}}
            assert failures[0]["response"]["status_code"] == 400
            assert shown["completed_at"] == shown["in_progress_at"] == 1000

    run(check())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=3))
def test_a_batch_that_is_killed_again_and_again_is_complete_and_nothing_is_there_twice(tmp_path_factory, stops):
    """A line is asked again only when its answer had not come."""

    async def check():
        async with bench_in(tmp_path_factory.mktemp("batch")) as bench:
            row = await bench.create(12, wrong={5})
            for number, stop in enumerate(stops):
                bench.hang_at = stop
                task = asyncio.ensure_future(bench.run(await bench.row(row), f"runner{number}"))
                await bench.hangs(task)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                bench.asked[stop] = 0
            bench.hang_at = None
            if (await bench.row(row)).status != "completed":
                await bench.run(await bench.row(row), "last")
            shown = batch_object(await bench.row(row))
            found = [*await bench.lines(shown["output_file_id"]), *await bench.lines(shown["error_file_id"])]
            assert sorted(each["custom_id"] for each in found) == sorted(f"c{n}" for n in range(12))
            assert shown["request_counts"] == {"total": 12, "completed": 11, "failed": 1}

    run(check())


def test_a_cancelled_batch_keeps_its_answers_and_tells_the_rest_why(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row, task = await bench.hanging(6, at=2)
            assert batch_object(await bench.store.cancel("acme", row.id))["status"] == "cancelling"
            await task
            shown = batch_object(await bench.row(row))
            assert (shown["status"], shown["request_counts"]) == (
                "cancelled",
                {"total": 6, "completed": 5, "failed": 1},
            )
            (failure,) = await bench.lines(shown["error_file_id"])
            assert (failure["custom_id"], failure["error"]["code"]) == ("c2", "batch_cancelled")
            assert shown["cancelled_at"] is not None
            assert batch_object(await bench.store.cancel("acme", row.id)) == shown

    run(check())


def test_a_batch_that_is_cancelled_before_anybody_runs_it_ends_without_asking(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(3)
            await bench.store.cancel("acme", row.id)
            await bench.run(await bench.row(row))
            assert batch_object(await bench.row(row))["status"] == "cancelled"
            assert not bench.asked

    run(check())


def test_what_the_window_leaves_unanswered_expires(tmp_path):
    """A clock that jumps over the window ends it at once; what was answered is there."""

    async def check():
        async with bench_in(tmp_path) as bench:
            row, task = await bench.hanging(4, at=3)
            bench.now += WINDOW_S
            await task
            shown = batch_object(await bench.row(row))
            assert (shown["status"], shown["expired_at"]) == ("expired", int(bench.now))
            assert len(await bench.lines(shown["output_file_id"])) == 3
            (failure,) = await bench.lines(shown["error_file_id"])
            assert failure["error"]["code"] == "batch_expired"

    run(check())


def test_a_file_that_is_no_batch_fails_with_its_lines_and_asks_nothing(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(2)
            with (tmp_path / row.id / INPUT).open("a") as file:
                file.write("not json\n")
            await bench.run(row)
            shown = batch_object(await bench.row(row))
            assert (shown["status"], shown["errors"]["data"][0]["line"]) == ("failed", 3)
            assert not bench.asked

    run(check())


def test_only_one_of_two_runners_gets_a_batch(tmp_path):
    """And a runner whose batch was taken over stops without a word in it."""

    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(3)
            claims = await asyncio.gather(*[bench.store.claim(row, f"runner{n}") for n in range(5)])
            assert len([claim for claim in claims if claim is not None]) == 1
            held = next(claim for claim in claims if claim is not None)
            taken = await bench.store.claim(held, "thief")
            with pytest.raises(LeaseLostError):
                await bench.store.beat(row.id, held.runner, {"completed": 99})
            with pytest.raises(LeaseLostError):
                await bench.store.end(row.id, held.runner, "completed", ())
            assert (await bench.row(row)).completed == 0
            assert (await bench.store.beat(row.id, "thief", {})).beat == taken.beat + 1

    run(check())


def test_a_runner_that_lost_its_lease_stops(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(3)
            bench.hang_at = 1
            task = asyncio.ensure_future(bench.run(row))
            await bench.hangs(task)
            await bench.store.claim(await bench.row(row), "thief")
            with pytest.raises(LeaseLostError):
                await task
            assert (await bench.row(row)).runner == "thief"

    run(check())


def test_two_processes_never_write_the_same_answers(tmp_path):
    """Even if the database gave the batch to both: the second cannot open them."""

    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(3)
            bench.hang_at = 1
            task = asyncio.ensure_future(bench.run(row, beat_s=60))
            await bench.hangs(task)
            with pytest.raises(SettingsError):
                await bench.run(await bench.row(row), "thief")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(check())


def test_a_run_that_is_cancelled_while_it_opens_its_files_lets_the_next_have_them(tmp_path, monkeypatch):
    """The thread that opens them cannot be cancelled: what it opens is closed."""
    begun, may_open, opened = threading.Event(), threading.Event(), []

    def open_slowly(path):
        begun.set()
        may_open.wait()
        opened.append(AnswerFile(path))
        return opened[-1]

    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(3)
            task = asyncio.ensure_future(bench.run(row))
            await asyncio.to_thread(begun.wait)
            task.cancel()
            await asyncio.sleep(0)
            may_open.set()
            await asyncio.gather(task, return_exceptions=True)
            assert (task.cancelled(), len(opened)) == (True, 2)
            for file in opened:
                AnswerFile(file.path).close()

    monkeypatch.setattr(batch_run, "AnswerFile", open_slowly)
    run(check())


def test_a_batch_asks_in_its_makers_name_and_behind_who_waits(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(1)
            identity = identity_of_batch(row, 5)
            assert identity.priority == 5
            for name in ("tenant", "key_id", "models", "endpoints", "groups", "key_limits", "tenant_limits"):
                assert getattr(identity, name) == getattr(OWNER, name)

    run(check())


def test_a_batch_whose_key_is_revoked_asks_no_more(tmp_path):
    """What was answered before is there."""

    async def check():
        async with bench_in(tmp_path) as bench:
            key = ApiKey(OWNER.key_id, OWNER.tenant, "night", b"\0" * 32, created_at=1.0)
            await bench.database.run(lambda connection: add_key(connection, key))
            row, task = await bench.hanging(4, at=3)
            await bench.database.run(lambda connection: revoke_key(connection, OWNER.key_id, 2.0))
            await task
            shown = batch_object(await bench.row(row))
            assert (shown["status"], shown["request_counts"]["completed"]) == ("cancelled", 3)
            (failure,) = await bench.lines(shown["error_file_id"])
            assert "revoked" in failure["error"]["message"]

    run(check())


def test_a_batch_and_its_files_are_forgotten_after_their_days(tmp_path):
    async def check():
        async with bench_in(tmp_path) as bench:
            row = await bench.create(2)
            await bench.run(row)
            file_id = (await bench.row(row)).output_file_id
            bench.now += 31 * 86_400
            with pytest.raises(NotFoundError):
                await bench.files.get("acme", file_id)
            assert await bench.files.sweep() >= 1
            assert not bench.files.path_of(file_id).exists()
            await bench.store.sweep()
            with pytest.raises(NotFoundError):
                await bench.row(row)

    run(check())
