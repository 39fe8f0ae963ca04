"""The generations that run, by the ids that their clients gave them: whom `stop` may end.

A client's id means something within its tenant only; on Triton every request has an id of the gateway's own, so that
nobody can name another tenant's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from trident.gateway.exchange import Exchange


class LiveRequests:
    """Of one worker process: a stop that another worker gets finds nothing, as one of an id that nobody has."""

    def __init__(self) -> None:
        self._exchanges: dict[tuple[str, str], set[Exchange]] = {}

    @contextmanager
    def running(self, tenant: str, client_id: str, exchange: Exchange) -> Iterator[None]:
        """For as long as the block lasts; without an id it cannot be named."""
        key = (tenant, client_id)
        if not client_id:
            yield
            return
        self._exchanges.setdefault(key, set()).add(exchange)
        try:
            yield
        finally:
            self._exchanges[key].discard(exchange)
            if not self._exchanges[key]:
                del self._exchanges[key]

    async def stop(self, tenant: str, client_id: str) -> None:
        """End the tenant's requests of that id, each with what it has; unknown ids are no error.

        Raises:
            UnavailableError: their server cannot be reached.
        """
        exchanges = self._exchanges.get((tenant, client_id), ())
        await asyncio.gather(*[exchange.stop() for exchange in exchanges])
