"""Sums over the ledger: who asked how much of what, what it took and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Literal, get_args
from typing import cast as typed

from sqlalchemy import Connection, Float, Integer, Numeric, case, cast, func, select

from trident.errors import InvalidRequestError, did_you_mean
from trident.gateway.ledger.tables import feedback, requests
from trident.gateway.ledger.wall_time import shares

Dimension = Literal["tenant", "key", "model", "deployment", "version", "api", "day"]
DAY_S = 86_400
_EXACT_END = cast(requests.c.ended_at, Numeric)  # of floats PostgreSQL has no remainder
_COLUMNS = {
    "tenant": requests.c.tenant,
    "key": requests.c.key_id,
    "model": requests.c.model,
    "deployment": requests.c.deployment,
    "version": requests.c.version,
    "api": requests.c.api,
    "day": cast(_EXACT_END - _EXACT_END % DAY_S, Integer),
}


def read_dimension(name: str) -> Dimension:
    """As the user wrote it.

    Raises:
        InvalidRequestError: there is none of that name.
    """
    known = get_args(Dimension)
    if name not in known:
        raise InvalidRequestError(f"usage is not told by '{name}'{did_you_mean(name, known)}; by {', '.join(known)}")
    return typed(Dimension, name)


def read_day(text: str) -> float:
    """The begin of a day in UTC, "2026-11-01", in seconds since 1970.

    Raises:
        InvalidRequestError: it is none.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()
    except ValueError as exc:
        raise InvalidRequestError(f"'{text}' is no day; write it as 2026-11-01") from exc


def usage(
    connection: Connection, dimensions: Sequence[Dimension], since: float, until: float, tenant: str | None = None
) -> list[dict[str, Any]]:
    """A row for each combination of the dimensions, the dearest first; days as seconds since 1970 of their begin.

    `since` and `until`: seconds since 1970, of the requests' ends; `tenant`: of this one only. `engine_s` of a
    deployment is the time in which it had any request, shared out among them (`wall_time.py`); so is `cost`.
    """
    keys = [_COLUMNS[name].label(name) for name in dimensions]
    judged = (
        select(feedback.c.request_id, func.avg(feedback.c.score).label("score")).group_by(feedback.c.request_id)
    ).subquery()
    wall = shares(since, until)
    share = func.coalesce(wall.c.share, 1.0)
    query = (
        select(
            *keys,
            func.count().label("requests"),
            _count(requests.c.finish_reason == "error").label("errors"),
            _count(requests.c.finish_reason == "cancelled").label("cancelled"),
            _count(requests.c.cache != "").label("cache_hits"),
            func.sum(requests.c.num_input_tokens).label("input_tokens"),
            func.sum(requests.c.num_cached_tokens).label("cached_tokens"),
            func.sum(requests.c.num_output_tokens).label("output_tokens"),
            func.sum(requests.c.engine_s * share).label("engine_s"),
            func.sum(requests.c.price).label("price"),
            func.sum(requests.c.cost * share).label("cost"),
            func.avg(requests.c.ttft_s).label("ttft_s"),
            func.avg(requests.c.duration_s).label("duration_s"),
            func.count(judged.c.score).label("feedback"),
            cast(func.avg(judged.c.score), Float).label("score"),
        )
        .select_from(
            requests.outerjoin(judged, judged.c.request_id == requests.c.request_id).outerjoin(
                wall, wall.c.deployment == requests.c.deployment
            )
        )
        .where(requests.c.ended_at >= since, requests.c.ended_at < until)
        .group_by(*keys)
        .order_by(func.sum(requests.c.price).desc(), func.count().desc())
    )
    if tenant is not None:
        query = query.where(requests.c.tenant == tenant)
    return [dict(row) for row in connection.execute(query).mappings()]


def _count(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))
