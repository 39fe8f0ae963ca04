"""The gateway's SQL: one engine, every call in a thread and in a transaction of its own; sqlite or PostgreSQL.

Tables are declared on `metadata` beside the code that reads them; a database gets them from `migrations/versions` only.
No call waits for ever: statements have a time, connections too, and a server that hangs holds only the threads that
are this one's own, until then. It knows no table.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, exc, make_url

from trident.errors import SettingsError, UnavailableError
from trident.gateway.patience import within

if TYPE_CHECKING:
    from trident.gateway.config import Server

T = TypeVar("T")
metadata = MetaData()

TIMEOUT_S = 10.0  # of a statement
LONG_S = 120.0  # of one that reads or deletes much
_MIGRATION_S = 300.0
_GRACE_S = 5.0  # after which a server that does not keep the time itself is left
_NUM_THREADS = 8  # and connections, of a process
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x7472_6964  # of PostgreSQL; any number that nothing else uses


def database_url(server: Server) -> str:
    """What the file names, or sqlite in the data folder."""
    return server.database or f"sqlite:///{server.data.absolute() / 'gateway.db'}"


class Database:
    """One per process. `start` before the first `run`."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Opens nothing yet. `timeout_s`: of a statement, where a call does not say another.

        Raises:
            SettingsError: not a URL of a database, or its driver is not installed.
        """
        self._timeout_s = timeout_s
        try:
            self._url = make_url(url)
            self._is_sqlite = self._url.get_backend_name() == "sqlite"
            if self._is_sqlite and self._url.database in {None, "", ":memory:"}:
                raise SettingsError("server.database: sqlite in memory is one database a thread; name a file")
            self._engine = self._engine_of(timeout_s)
        except (exc.ArgumentError, ImportError) as error:
            raise SettingsError(f"server.database: {error}") from error
        self._threads = ThreadPoolExecutor(_NUM_THREADS, "database")

    async def start(self) -> None:
        """Make the database where there is none, and bring its tables to this version's.

        Raises:
            SettingsError: it cannot be opened or migrated.
        """
        try:
            await asyncio.to_thread(self._migrate)
        except (exc.SQLAlchemyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError(f"cannot open the database {self._url.render_as_string()}: {reason}") from error

    async def run(self, fn: Callable[[Connection], T], timeout_s: float | None = None) -> T:
        """`fn` in a thread, in one transaction: committed when it returns, rolled back when it raises.

        A caller that is cancelled leaves it running to its end.

        Args:
            fn: it may be called and its caller told that it was not: what it does has to bear being done again.
            timeout_s: of each statement; all of it, the wait for a thread included, takes little longer.

        Raises:
            UnavailableError: the database does not answer, or not in time.
        """
        statement_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            return await within(self._in_thread(fn, statement_s), statement_s + 2 * _GRACE_S)
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, asyncio.TimeoutError) as error:
            raise UnavailableError("the gateway's database does not answer; ask again later") from error

    async def close(self) -> None:
        """Close its connections; a later `run` opens new ones."""
        await asyncio.to_thread(self._engine.dispose)

    async def _in_thread(self, fn: Callable[[Connection], T], statement_s: float) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, fn, statement_s)

    def _run(self, fn: Callable[[Connection], T], statement_s: float) -> T:
        with self._engine.begin() as connection:
            if statement_s == self._timeout_s or self._is_sqlite:
                return fn(connection)
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(1000 * statement_s)}")
            if self._url.get_driver_name() != "psycopg":
                return fn(connection)
            from trident.gateway.bounded_postgres import patience_of  # noqa: PLC0415 - the driver is an extra

            with patience_of(connection, statement_s + _GRACE_S):
                return fn(connection)

    def _engine_of(self, statement_s: float) -> Engine:
        if self._is_sqlite:
            engine = create_engine(self._url, pool_size=_NUM_THREADS, max_overflow=0)
            event.listen(engine, "connect", _sqlite_preparation(statement_s))
            event.listen(engine, "begin", _begin_immediate)
            return engine
        engine = create_engine(self._url, pool_pre_ping=True, pool_size=_NUM_THREADS, max_overflow=0)
        if self._url.get_driver_name() == "psycopg":
            from trident.gateway.bounded_postgres import bound  # noqa: PLC0415 - the driver is an extra

            bound(engine, statement_s + _GRACE_S)
        if self._url.get_backend_name() == "postgresql":
            event.listen(engine, "connect", _postgres_preparation(statement_s))
        return engine

    def _migrate(self) -> None:
        from alembic import command  # noqa: PLC0415 - at the start only
        from alembic.config import Config  # noqa: PLC0415

        if self._is_sqlite:
            _make_private(Path(self._url.database))
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        engine = self._engine_of(_MIGRATION_S)  # of its own: others migrate, or an index takes its time
        try:
            with engine.begin() as connection:
                if not self._is_sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
                config.attributes["connection"] = connection
                command.upgrade(config, "heads")
        finally:
            engine.dispose()


def _make_private(path: Path) -> None:
    """The file with mode 600, its folder with 700 where it is made; sqlite gives its own files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _sqlite_preparation(timeout_s: float) -> Callable[[Any, Any], None]:
    """`timeout_s`: that a writer waits for another."""
    busy = f"busy_timeout={round(1000 * timeout_s)}"

    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transactions of its own, which leave DDL outside
        for pragma in (busy, "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _postgres_preparation(timeout_s: float) -> Callable[[Any, Any], None]:
    """By a statement, because poolers such as PgBouncer take no such option when a connection begins."""

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET statement_timeout = {round(1000 * timeout_s)}")
        cursor.close()
        connection.commit()

    return prepare


def _begin_immediate(connection: Connection) -> None:
    """Takes the writer's lock at once: a reader that later writes would fail without waiting (SQLITE_BUSY_SNAPSHOT)."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
