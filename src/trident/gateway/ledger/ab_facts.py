"""What an A/B report is made of, out of the ledger: a deployment's requests, failures and judgements, and its copies.

Counts and sums are of all rows. Of each quantity there is a sample besides: the rows with the lowest request ids, which
are random (UUID 4), so it is uniform, and the same when it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, select

from trident.errors import EngineError, QueueFullError, UnavailableError
from trident.gateway.ab_report import Arm, ShadowArm
from trident.gateway.intervals import Values
from trident.gateway.ledger.tables import comparisons, failures, feedback, requests
from trident.gateway.ledger.wall_time import reconciled

_SAMPLE_SIZE = 5000
_OWN_FAILURES = [each.__name__ for each in (UnavailableError, QueueFullError, EngineError)]  # not the request's


def read_arm(connection: Connection, model: str, deployment: str, version: str, since: float) -> Arm:
    """One deployment with what runs there now, of requests that ended after `since`, in seconds since 1970."""
    row = requests.c
    at = and_(row.model == model, row.deployment == deployment, row.version == version, row.ended_at >= since)
    was_asked_in_vain = exists().where(failures.c.request_id == row.request_id, failures.c.deployment == deployment)
    mine = and_(at, ~was_asked_in_vain)
    sums = connection.execute(
        select(
            func.count().label("requests"),
            _number(row.error.in_(_OWN_FAILURES)).label("errors"),
            _number(row.finish_reason == "cancelled").label("cancelled"),
            func.coalesce(func.sum(row.num_input_tokens), 0).label("input"),
            func.coalesce(func.sum(row.num_output_tokens), 0).label("output"),
            func.coalesce(func.sum(row.price), 0.0).label("price"),
            func.coalesce(func.sum(row.cost), 0.0).label("cost"),
        ).where(mine)
    ).one()
    num_in_vain = connection.execute(
        select(func.count()).where(
            failures.c.model == model, failures.c.deployment == deployment, failures.c.version == version,
            failures.c.ended_at >= since,
        )
    ).scalar_one()  # fmt: skip
    is_whole = and_(mine, row.error == "", row.finish_reason != "cancelled")
    whole = _sample(connection, (row.duration_s, row.price, row.cost), is_whole)
    scores = (
        select(feedback.c.score, func.count().over())
        .join_from(feedback, requests, feedback.c.request_id == row.request_id)
        .where(at).order_by(feedback.c.request_id).limit(_SAMPLE_SIZE)
    )  # fmt: skip
    judged = connection.execute(scores).all()
    share = reconciled(connection, deployment, since)
    return Arm(
        num_requests=sums.requests + num_in_vain,
        num_errors=sums.errors + num_in_vain,
        num_cancelled=sums.cancelled,
        num_input_tokens=sums.input,
        num_output_tokens=sums.output,
        total_price=sums.price,
        total_cost=sums.cost * share,
        ttft_s=_sample(connection, (row.ttft_s,), and_(mine, row.ttft_s.is_not(None)))[0],
        latency_s=whole[0],
        price=whole[1],
        cost=whole[2] * share,
        num_feedback=judged[0][1] if judged else 0,
        feedback=np.array([each[0] for each in judged], np.float64),
    )


def read_shadows(
    connection: Connection, model: str, versions: Mapping[str, str], since: float
) -> dict[tuple[str, str], ShadowArm]:
    """By real and shadow deployment, both with the versions that are given."""
    row = comparisons.c
    found: dict[tuple[str, str], dict[str, int]] = {}
    current = and_(row.model == model, row.ended_at >= since, _of(row.version, row.deployment, versions),
                   _of(row.shadow_version, row.shadow, versions))  # fmt: skip
    counted = select(row.deployment, row.shadow, row.result, row.winner, func.count()).where(current)
    for real, shadow, result, winner, number in connection.execute(
        counted.group_by(row.deployment, row.shadow, row.result, row.winner)
    ):
        counts = found.setdefault((real, shadow), {})
        for name in (result, f"won by {winner}" if winner else ""):
            counts[name] = counts.get(name, 0) + number
    arms = {}
    for (real, shadow), counts in found.items():
        pair = and_(current, row.deployment == real, row.shadow == shadow, row.added_latency_s.is_not(None))
        latency_s, chars = _sample(connection, (row.added_latency_s, row.added_chars), pair)
        arms[real, shadow] = ShadowArm(
            num_compared=sum(counts.get(name, 0) for name in ("equal", "different", "failed")),
            num_equal=counts.get("equal", 0),
            num_failed=counts.get("failed", 0),
            num_left_out=counts.get("left out", 0),
            num_won=counts.get("won by shadow", 0),
            num_lost=counts.get("won by real", 0),
            added_latency_s=latency_s,
            added_chars=chars,
        )
    return arms


def _sample(connection: Connection, columns: Iterable[ColumnElement[Any]], where: ColumnElement[bool]) -> list[Values]:
    """float64[rows] of each column."""
    columns = list(columns)
    table = columns[0].table
    rows = connection.execute(select(*columns).where(where).order_by(table.c.request_id).limit(_SAMPLE_SIZE)).all()
    return list(np.array(rows, np.float64).reshape(-1, len(columns)).T)


def _of(
    version: ColumnElement[str], deployment: ColumnElement[str], versions: Mapping[str, str]
) -> ColumnElement[bool]:
    return version == case(versions, value=deployment, else_=None)


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
