"""How much a key and its tenant may ask: reserved before a request runs, settled when it is known what it took."""

from __future__ import annotations

from collections.abc import Mapping

from trident.gateway.identity import Identity


class Reservation:
    """What one request holds of its key's and its tenant's limits until it is settled."""

    def headers(self) -> Mapping[str, str]:
        """`x-ratelimit-*` as they stand now."""
        return {}

    async def settle(self, num_tokens: int, cost: float) -> None:
        """The request is over: it took so many tokens and so much money. The second call does nothing."""


class Limiter:
    """Of all keys and tenants."""

    async def reserve(self, identity: Identity, num_tokens: int, cost: float) -> Reservation:
        """Room for a request of at most about so many tokens, that costs at most about so much.

        Raises:
            RateLimitError: too many requests, tokens or concurrent requests; says when to ask again.
            QuotaError: the day's budget does not hold it.
        """
        return Reservation()
