"""The gateway's SQL: one engine, every call in a thread and in a transaction of its own; sqlite or PostgreSQL.

Tables are declared on `metadata` beside the code that reads them; a database gets them from `migrations/versions` only.
It knows no table.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, MetaData, create_engine, event, exc, make_url

from trident.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from trident.gateway.config import Server

T = TypeVar("T")
metadata = MetaData()

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 10_000  # how long a writer of sqlite waits for another
_MIGRATION_LOCK = 0x7472_6964  # of PostgreSQL; any number that nothing else uses


def database_url(server: Server) -> str:
    """What the file names, or sqlite in the data folder."""
    return server.database or f"sqlite:///{server.data.absolute() / 'gateway.db'}"


class Database:
    """One per process. `start` before the first `run`."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet.

        Raises:
            SettingsError: not a URL of a database, or its driver is not installed.
        """
        try:
            self._url = make_url(url)
            self._engine = create_engine(self._url, pool_pre_ping=True)
        except (exc.ArgumentError, ImportError) as error:
            raise SettingsError(f"server.database: {error}") from error
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        if self._is_sqlite:
            if self._url.database in {None, "", ":memory:"}:
                raise SettingsError("server.database: sqlite in memory is one database a thread; name a file")
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_immediate)

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

    async def run(self, fn: Callable[[Connection], T]) -> T:
        """`fn` in a thread, in one transaction: committed when it returns, rolled back when it raises.

        A caller that is cancelled leaves it running to its end.

        Raises:
            UnavailableError: the database does not answer.
        """
        try:
            return await asyncio.to_thread(self._run, fn)
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise UnavailableError("the gateway's database does not answer; ask again later") from error

    async def close(self) -> None:
        """Close its connections; a later `run` opens new ones."""
        await asyncio.to_thread(self._engine.dispose)

    def _run(self, fn: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return fn(connection)

    def _migrate(self) -> None:
        from alembic import command  # noqa: PLC0415 - at the start only
        from alembic.config import Config  # noqa: PLC0415

        if self._is_sqlite:
            _make_private(Path(self._url.database))
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        with self._engine.begin() as connection:
            if not self._is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            config.attributes["connection"] = connection
            command.upgrade(config, "heads")


def _make_private(path: Path) -> None:
    """The file with mode 600, its folder with 700 where it is made; sqlite gives its own files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own, which leave DDL outside
    for pragma in (f"busy_timeout={_BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    """Takes the writer's lock at once: a reader that later writes would fail without waiting (SQLITE_BUSY_SNAPSHOT)."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
