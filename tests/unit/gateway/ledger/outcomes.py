"""Outcomes of requests as the ledger is told of them, and a database that can be taken away."""

from sqlalchemy import exc

from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.config import Deployment
from trident.gateway.identity import ANONYMOUS
from trident_client.completion import Completion
from trident_client.sampling import Sampling

DEPLOYMENTS = {"main": Deployment(url="127.0.0.1:1", version="7", price_per_s=0.5)}


def outcome_of(request_id, **changes):
    asked = Asked(request_id, ANONYMOUS, "chat", "chat", "smollm2", "write to jane@example.org", Sampling())
    outcome = Outcome(asked, Decision("smollm2", ("main",), ()), "main", Completion(request_id, "yes", "stop", 5, 2))
    outcome.started_at, outcome.duration_s, outcome.engine_s, outcome.cost = 1000.0, 2.0, 1.5, 0.25
    outcome.num_input_tokens, outcome.num_output_tokens = 5, 2
    for name, value in changes.items():
        setattr(outcome, name, value)
    return outcome


class Away:
    """A database that can be taken away."""

    def __init__(self, database):
        self.database = database
        self.is_away = False
        self.num_refused = 0

    async def run(self, fn, timeout_s=None):
        def perhaps(connection):
            if self.is_away:
                self.num_refused += 1
                raise exc.OperationalError("", {}, OSError("gone"))
            return fn(connection)

        return await self.database.run(perhaps, timeout_s)
