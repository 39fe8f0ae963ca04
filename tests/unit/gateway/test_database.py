"""The gateway's database: made on the first start, one transaction a call, and clear about what it cannot open."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from trident.errors import SettingsError, UnavailableError
from trident.gateway import app, spending  # noqa: F401 - app imports all that declare tables
from trident.gateway.config import Server
from trident.gateway.database import Database, database_url, metadata


def run(database, *functions):
    """Their results, in one event loop."""

    async def use():
        await database.start()
        try:
            return [await database.run(function) for function in functions]
        finally:
            await database.close()

    return asyncio.run(use())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "gateway.db"


@pytest.fixture
def database(path):
    return Database(f"sqlite:///{path}")


def count_keys(connection):
    return connection.execute(text("SELECT count(*) FROM api_keys")).scalar()


def add_spending(connection):
    connection.execute(text("INSERT INTO spending VALUES ('a', '2026-01-01', 7)"))


def test_first_start_makes_the_database_for_its_owner_only(database, path):
    """Stored answers are nobody else's to read."""
    assert run(database, count_keys) == [0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_migrations_make_the_tables_that_the_code_declares(database, path):
    """A table, a column or an index that only one of the two knows would be found here."""
    run(database)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_second_start_keeps_what_is_there(database, path):
    """A restart migrates nothing twice."""
    run(database, add_spending)
    again = Database(f"sqlite:///{path}")
    assert run(again, lambda connection: connection.execute(text("SELECT spent FROM spending")).scalar()) == [7]


def test_several_processes_may_start_at_once(path):
    """Workers and gateways: each waits for the migration of the other."""
    script = (
        "import asyncio, sys; from trident.gateway.database import Database; asyncio.run(Database(sys.argv[1]).start())"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{path}"]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in starting] == [("", 0), ("", 0)]


def test_writers_wait_for_each_other(path):
    """No write is lost and none fails because another connection writes too."""

    def add_one(connection):
        connection.execute(
            text(
                "INSERT INTO spending VALUES ('a', 'today', 1) "
                "ON CONFLICT (subject, day) DO UPDATE SET spent = spending.spent + 1"
            )
        )

    async def write():
        databases = [Database(f"sqlite:///{path}") for _ in range(4)]
        await databases[0].start()
        await asyncio.gather(*[each.run(add_one) for each in databases for _ in range(10)])
        count = await databases[0].run(
            lambda connection: connection.execute(text("SELECT spent FROM spending")).scalar()
        )
        await asyncio.gather(*[each.close() for each in databases])
        return count

    assert asyncio.run(write()) == 40


def test_what_raises_leaves_nothing_behind(database):
    """One call is one transaction."""

    def fail(connection):
        add_spending(connection)
        raise RuntimeError("in its midst")

    async def use():
        await database.start()
        with pytest.raises(RuntimeError, match="in its midst"):
            await database.run(fail)
        count = await database.run(
            lambda connection: connection.execute(text("SELECT count(*) FROM spending")).scalar()
        )
        await database.close()
        return count

    assert asyncio.run(use()) == 0


def test_broken_database_is_unavailable_not_a_crash(database, path):
    """A client reads that it may ask again; where the database is stays inside."""

    async def use():
        await database.start()
        await database.close()
        path.write_bytes(b"")
        with pytest.raises(UnavailableError) as refusal:
            await database.run(count_keys)
        await database.close()
        return refusal.value.message

    assert str(path) not in asyncio.run(use())


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://host/name"])
def test_url_that_cannot_work_is_refused_by_name(url):
    """At the start, not at the first request."""
    with pytest.raises(SettingsError, match=r"server\.database"):
        Database(url)


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    """The operator's mistake, not a traceback; a password in the URL is not shown."""
    (tmp_path / "file").write_text("")
    database = Database(f"sqlite:///{tmp_path}/file/gateway.db")
    with pytest.raises(SettingsError, match="cannot open the database"):
        asyncio.run(database.start())


def test_default_is_sqlite_in_the_data_folder(tmp_path):
    """And a URL in the file goes first."""
    assert database_url(Server(data=tmp_path)) == f"sqlite:///{tmp_path}/gateway.db"
    assert database_url(Server(database="postgresql://host/name")) == "postgresql://host/name"


def test_postgresql_is_served_alike():
    """Migrated by several at once, and a budget holds over two connections that race.

    `TRIDENT_TEST_POSTGRES`: the URL of an empty database, as postgresql+psycopg://user@host/name.
    """
    url = os.environ.get("TRIDENT_TEST_POSTGRES")
    if url is None:
        pytest.skip("TRIDENT_TEST_POSTGRES names no database")

    async def use():
        databases = [Database(url), Database(url)]
        await databases[0].start()
        await databases[1].start()
        budgets = [spending.Budget(f"subject-{time.time_ns()}", 1.0)]
        asked = [spending.Spending(databases[number % 2]).reserve(budgets, 0.1) for number in range(50)]
        answers = await asyncio.gather(*asked)
        await asyncio.gather(*[each.close() for each in databases])
        return sum(answer.refused is None for answer in answers)

    assert asyncio.run(use()) == 10
