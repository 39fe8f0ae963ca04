"""A ledger before a database of its own."""

import pytest

from tests.unit.gateway import loop
from tests.unit.gateway.ledger.outcomes import DEPLOYMENTS, Away
from trident.gateway.config import LedgerSettings
from trident.gateway.database import Database
from trident.gateway.ledger.ledger import Ledger


@pytest.fixture
def deployed(tmp_path):
    """run(test): `test(ledger, database)` with both started."""

    def run(test, settings=LedgerSettings(), **arguments):  # noqa: B008 - it is frozen
        async def whole():
            database = Database(f"sqlite:///{tmp_path / 'gateway.db'}")
            await database.start()
            away = Away(database)
            ledger = Ledger(settings, tmp_path / "spool", away, DEPLOYMENTS, clock=lambda: 2000.0, **arguments)
            await ledger.start()
            try:
                return await test(ledger, away)
            finally:
                await ledger.close()
                await database.close()

        return loop.run(whole())

    return run
