"""The ledger's tables: a row for each request, failed attempt, compared copy and judgement.

Every function is for one transaction (`Database.run`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from trident.gateway.database import metadata

Row = Mapping[str, Any]

requests = Table(
    "requests",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("ended_at", Float, nullable=False, index=True),  # seconds since 1970
    Column("tenant", String(128), nullable=False, index=True),
    Column("key_id", String(128), nullable=False),
    Column("api", String(32), nullable=False),
    Column("operation", String(32), nullable=False),
    Column("asked_model", String(256), nullable=False),  # as the client called it
    Column("model", String(256), nullable=False),  # the route that was taken
    Column("deployment", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("finish_reason", String(32), nullable=False),  # "cancelled": the client left; "error"
    Column("error", String(64), nullable=False),  # its kind
    Column("num_input_tokens", Integer, nullable=False),
    Column("num_output_tokens", Integer, nullable=False),
    Column("num_cached_tokens", Integer, nullable=False),
    Column("ttft_s", Float),
    Column("duration_s", Float, nullable=False),
    Column("engine_s", Float, nullable=False),  # its share of the deployment's time
    Column("price", Float, nullable=False),  # by tokens: what the tenant owes
    Column("cost", Float, nullable=False),  # by engine seconds: what it cost to serve
    Column("cache", String(16), nullable=False),
    Column("prompt", Text),  # the next two only where the policy says so
    Column("answer", Text),
)
Index("ix_requests_key_id_ended_at", requests.c.key_id, requests.c.ended_at)  # when a key was last used
feedback = Table(
    "feedback",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("request_id", String(64), nullable=False, index=True),
    Column("tenant", String(128), nullable=False),
    Column("key_id", String(128), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("score", Float, nullable=False),  # 0 to 1
    Column("thumb", String(4)),
    Column("text", Text),
)
failures = Table(
    "failures",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("deployment", String(256), primary_key=True),  # that was asked in vain
    Column("ended_at", Float, nullable=False, index=True),
    Column("model", String(256), nullable=False),
    Column("version", String(256), nullable=False),
    Column("error", String(64), nullable=False),
)
comparisons = Table(
    "comparisons",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("ended_at", Float, nullable=False, index=True),
    Column("model", String(256), nullable=False),
    Column("deployment", String(256), nullable=False),  # of the real answer
    Column("version", String(256), nullable=False),
    Column("shadow", String(256), nullable=False),
    Column("shadow_version", String(256), nullable=False),
    Column("result", String(16), nullable=False),  # "equal", "different", "failed", "left out"
    Column("winner", String(16), nullable=False),
    Column("added_latency_s", Float),
    Column("added_chars", Integer),
)
_FACTS = {"row": requests, "failures": failures, "comparison": comparisons}
KINDS = (*_FACTS, "content")  # of what is written


def add(connection: Connection, rows: Mapping[str, Sequence[Row]]) -> None:
    """By kind. Those that are there already stay as they are: one may be written twice when a writer dies.

    `content` holds prompts and answers of requests that are there.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    for kind, table in _FACTS.items():
        if rows.get(kind):
            statement = dialect.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))
            connection.execute(statement, list(rows[kind]))
    for row in rows.get("content", ()):
        values = {"prompt": row["prompt"], "answer": row["answer"]}
        connection.execute(update(requests).where(requests.c.request_id == row["request_id"]).values(values))


def find_request(connection: Connection, tenant: str, request_id: str) -> Row | None:
    """None: there is none, or it is another tenant's."""
    query = select(requests).where(requests.c.request_id == request_id, requests.c.tenant == tenant)
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def add_feedback(connection: Connection, row: Row) -> None:
    """One judgement; the same key's earlier one of the same request is replaced."""
    same = (feedback.c.request_id == row["request_id"]) & (feedback.c.key_id == row["key_id"])
    connection.execute(delete(feedback).where(same))
    connection.execute(insert(feedback).values(row))


def forget(connection: Connection, rows_before: float, content_before: float) -> None:
    """Delete what ended before the first moment, and what was said in it before the second."""
    connection.execute(delete(feedback).where(feedback.c.created_at < rows_before))
    for table in _FACTS.values():
        connection.execute(delete(table).where(table.c.ended_at < rows_before))
    old = (requests.c.ended_at < content_before) & (requests.c.prompt.is_not(None) | requests.c.answer.is_not(None))
    connection.execute(update(requests).where(old).values(prompt=None, answer=None))
