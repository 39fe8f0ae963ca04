"""Engine seconds reconciled to wall time: what a deployment's requests are charged is never more than it was busy.

One process charges so by itself (`engine_clock.py`). Several, which do not see each other's requests, charge the same
second more than once; together they charge no more than the time in which any request was there, in proportion.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Subquery, case, func, select

from trident.gateway.ledger.tables import requests


def shares(since: float, until: float) -> Subquery:
    """(deployment, share): by what its engine seconds and cost count, at most 1; of requests that ended in between."""
    row = requests.c
    begun_at = row.ended_at - row.duration_s
    before = func.max(row.ended_at).over(
        partition_by=row.deployment, order_by=(begun_at, row.ended_at, row.request_id), rows=(None, -1)
    )
    spans = (
        select(row.deployment, row.engine_s, row.ended_at, begun_at.label("begun_at"), before.label("before"))
        .where(row.ended_at >= since, row.ended_at < until, row.deployment != "")
        .subquery()
    ).c
    new_s = case(
        (spans.before.is_(None) | (spans.before <= spans.begun_at), spans.ended_at - spans.begun_at),
        (spans.before < spans.ended_at, spans.ended_at - spans.before),
        else_=0.0,
    )
    busy_s, charged_s = func.sum(new_s), func.sum(spans.engine_s)
    share = case((charged_s > busy_s, busy_s / charged_s), else_=1.0)
    return select(spans.deployment, share.label("share")).group_by(spans.deployment).subquery()


def reconciled(connection: Connection, deployment: str, since: float) -> float:
    """The share of one deployment."""
    found = shares(since, 1e12)
    value: Any = connection.execute(select(found.c.share).where(found.c.deployment == deployment)).scalar()
    return 1.0 if value is None else float(value)
