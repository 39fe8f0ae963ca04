"""What each key and tenant has spent on a day in UTC, in the database: a restart forgets nothing, gateways share it.

What is reserved counts as spent until it is settled, so a gateway that was killed leaves too much counted, never too
little, until the day is over.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from sqlalchemy import BigInteger, Column, Connection, String, Table, delete, select, text, update

from trident.gateway.database import Database, metadata

_UNITS = 1_000_000_000  # of one unit of the currency, so that sums are exact
_KEPT_DAYS = 400
_DAY_S = 86_400

spending = Table(
    "spending",
    metadata,
    Column("subject", String(1024), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("spent", BigInteger, nullable=False),  # billionths of the currency
)
# The same words in sqlite and PostgreSQL; no row is touched where the budget does not hold the amount.
_ADD_WITHIN = text(
    "INSERT INTO spending (subject, day, spent) VALUES (:subject, :day, :amount) "
    "ON CONFLICT (subject, day) DO UPDATE SET spent = spending.spent + excluded.spent "
    "WHERE spending.spent + excluded.spent <= :budget"
)


@dataclass(frozen=True, slots=True)
class Budget:
    """Of one subject for one day, in the currency of the models' prices."""

    subject: str
    amount: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What was reserved: the day and the amount count for every budget."""

    day: str
    units: int
    refused: Budget | None = None  # it does not hold the amount; nothing was reserved


class _DoesNotFit(Exception):  # noqa: N818 - not an error, the end of a transaction
    def __init__(self, budget: Budget) -> None:
        super().__init__(budget.subject)
        self.budget = budget


class Spending:
    """`wall`: seconds since 1970."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall

    async def start(self) -> None:
        """Forget what is older than a year."""
        oldest = _day_of(self._wall() - _KEPT_DAYS * _DAY_S)
        await self._database.run(lambda connection: connection.execute(delete(spending).where(spending.c.day < oldest)))

    async def reserve(self, budgets: Sequence[Budget], cost: float) -> Spent:
        """Of every budget or of none."""
        day, units = _day_of(self._wall()), _units_of(cost)
        ordered = sorted(budgets, key=lambda budget: budget.subject)  # so that two transactions never wait in a ring

        def add(connection: Connection) -> None:
            for budget in ordered:
                limit = math.floor(budget.amount * _UNITS)
                values = {"subject": budget.subject, "day": day, "amount": units, "budget": limit}
                if units > limit or connection.execute(_ADD_WITHIN, values).rowcount != 1:
                    raise _DoesNotFit(budget)  # which undoes the others

        try:
            await self._database.run(add)
        except _DoesNotFit as refusal:
            return Spent(day, units, refusal.budget)
        return Spent(day, units)

    async def settle(self, budgets: Sequence[Budget], spent: Spent, cost: float) -> None:
        """Put what it cost in the place of what was reserved, on the day on which it was."""
        difference = _units_of(cost) - spent.units
        if difference == 0:
            return
        change = update(spending).values(spent=spending.c.spent + difference).where(spending.c.day == spent.day)

        def correct(connection: Connection) -> None:
            for subject in sorted(budget.subject for budget in budgets):
                connection.execute(change.where(spending.c.subject == subject))

        await self._database.run(correct)

    def day_ends_in_s(self) -> float:
        """Until there are new budgets."""
        return _DAY_S - self._wall() % _DAY_S

    async def spent_today(self, subject: str) -> float:
        """With what is reserved now."""
        of_today = select(spending.c.spent).where(
            spending.c.subject == subject, spending.c.day == _day_of(self._wall())
        )
        units = await self._database.run(lambda connection: connection.execute(of_today).scalar())
        return (units or 0) / _UNITS

    async def all_spent_today(self) -> dict[str, float]:
        """By subject, with what is reserved now."""
        of_today = select(spending.c.subject, spending.c.spent).where(spending.c.day == _day_of(self._wall()))
        rows = await self._database.run(lambda connection: connection.execute(of_today).all())
        return {subject: units / _UNITS for subject, units in rows}


def _day_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()


def _units_of(cost: float) -> int:
    return math.ceil(round(cost * _UNITS, 3))
