"""Connections to PostgreSQL whose every wait ends, also for a server that is stopped or can no longer be reached.

`statement_timeout` is the server's own and holds only while the server lives; this is the client's side of it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Connection, Engine, event

CONNECT_S = 5
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 10_000}


class BoundedConnection(psycopg.Connection[Any]):
    """Closes itself when an operation has brought nothing for `patience_s`; what it raises then is OperationalError."""

    patience_s = 15.0

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """As psycopg's, which asks `gen` ten times a second whatever the server does."""
        return super().wait(self._ending(gen), *arguments, **options)

    def _ending(self, gen: PQGen[RV]) -> Generator[Any, Any, RV]:
        deadline = time.monotonic() + self.patience_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    gen.close()
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server said nothing for {self.patience_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            found: RV = end.value
            return found


def bound(engine: Engine, patience_s: float) -> None:
    """Every connection of an engine of psycopg becomes such a one; what its URL says of connecting goes first."""

    def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> BoundedConnection:
        values = {"connect_timeout": CONNECT_S, **_KEEPALIVE, **options}
        made = BoundedConnection.connect(*arguments, **values)
        made.patience_s = patience_s
        return made

    event.listen(engine, "do_connect", connect)


@contextmanager
def patience_of(connection: Connection, patience_s: float) -> Iterator[None]:
    """Another one for a while, on a connection that `bound` made."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, BoundedConnection)  # noqa: S101 - for the type checker
    before, raw.patience_s = raw.patience_s, patience_s
    try:
        yield
    finally:
        raw.patience_s = before
