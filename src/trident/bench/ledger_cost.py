"""What the ledger costs: CPU time of one process for each request that it writes down, its database included.

Outcomes at a steady rate, into a spool and from there into sqlite, as a gateway does it. It knows no gateway.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from sqlalchemy import func, select

from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.config import Deployment, LedgerSettings
from trident.gateway.database import Database
from trident.gateway.identity import ANONYMOUS
from trident.gateway.ledger.ledger import Ledger
from trident.gateway.ledger.tables import requests
from trident_client.completion import Completion
from trident_client.sampling import Sampling

_BURST = 20
_PAUSE_S = 0.01  # 2,000 requests a second


def measure(num_requests: int) -> dict[str, float]:
    """Microseconds of CPU a request, and how many of `num_requests` the database has at the end."""
    with tempfile.TemporaryDirectory(prefix="trident-ledger-") as folder:
        return asyncio.run(_measure(Path(folder), [_outcome() for _ in range(num_requests)]))


async def _measure(folder: Path, outcomes: list[Outcome]) -> dict[str, float]:
    database = Database(f"sqlite:///{folder / 'gateway.db'}")
    await database.start()
    deployments = {"main": Deployment(url="127.0.0.1:8001", version="1", price_per_s=0.001)}
    ledger = Ledger(LedgerSettings(), folder / "spool", database, deployments)
    await ledger.start()
    begun_s = time.process_time()
    for number, outcome in enumerate(outcomes):
        ledger.ended(outcome)
        if number % _BURST == 0:
            await asyncio.sleep(_PAUSE_S)
    await ledger.flush()
    taken_s = time.process_time() - begun_s
    num_kept = await database.run(
        lambda connection: connection.execute(select(func.count()).select_from(requests)).scalar_one()
    )
    await ledger.close()
    await database.close()
    return {"ledger_cpu_us": 1e6 * taken_s / len(outcomes), "ledger_lost": len(outcomes) - num_kept}


def _outcome() -> Outcome:
    request_id = str(uuid4())
    asked = Asked(request_id, ANONYMOUS, "chat", "chat", "smollm2", "What is the capital of France?", Sampling())
    completion = Completion(request_id, "Paris.", "stop", 12, 3)
    outcome = Outcome(asked, Decision("smollm2", ("main",), ()), "main", completion)
    outcome.started_at, outcome.duration_s, outcome.ttft_s, outcome.engine_s = time.time(), 0.5, 0.1, 0.25
    outcome.num_input_tokens, outcome.num_output_tokens, outcome.cost = 12, 3, 0.001
    return outcome
