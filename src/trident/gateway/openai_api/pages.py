"""Lists of stored objects, a page at a time, as OpenAI's API gives them: newest first, after a cursor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, or_, select

from trident.errors import InvalidRequestError
from trident.gateway.openai_api.stored_tables import is_stored_id

Json = dict[str, Any]
Order = Literal["asc", "desc"]


def page_of(
    connection: Connection,
    table: Table,
    conditions: Mapping[str, Any],
    *,
    after: str | None,
    limit: int,
    order: Order,
    kept: ColumnElement[bool] | None = None,
) -> tuple[list[Row[Any]], bool]:
    """At most `limit` rows of `table` and whether there are more; `after`: the id that the page before ended with.

    `conditions`: column = value; `kept`: what else must hold.

    Raises:
        InvalidRequestError: no such object to go on after.
    """
    columns = table.c
    query = select(table).where(*[columns[name] == value for name, value in conditions.items()])
    if kept is not None:
        query = query.where(kept)
    if after is not None:
        place = select(columns.created_at).where(columns.id == after, columns.tenant == conditions["tenant"])
        cursor = connection.execute(place).scalar() if is_stored_id(after) else None
        if cursor is None:
            raise InvalidRequestError(f"there is no '{after[:64]}' to go on after", param="after")
        beyond = columns.created_at < cursor if order == "desc" else columns.created_at > cursor
        beyond_id = columns.id < after if order == "desc" else columns.id > after
        query = query.where(or_(beyond, and_(columns.created_at == cursor, beyond_id)))
    keys = (columns.created_at, columns.id)
    query = query.order_by(*[key.desc() if order == "desc" else key for key in keys]).limit(limit + 1)
    rows = list(connection.execute(query))
    return rows[:limit], len(rows) > limit


def list_object(rows: list[Any], has_more: bool, write: Callable[[Any], Json]) -> Json:
    """The list as the API shows it."""
    data = [write(row) for row in rows]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
