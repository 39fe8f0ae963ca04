"""From a request's headers to an identity: the gateway's own keys, then the identity provider's tokens."""

from __future__ import annotations

from collections.abc import Mapping

from trident.gateway.config import GatewayConfig
from trident.gateway.identity import ANONYMOUS, Identity


class Authenticator:
    """Knows the keys; throttles who guesses."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config

    def update(self, config: GatewayConfig) -> None:
        """The file was rewritten."""
        self._config = config

    async def authenticate(self, headers: Mapping[str, str], address: str) -> Identity:
        """Who asks. `headers` in lower case: `authorization: Bearer`, or `api-key`, `x-api-key`; `address`: the peer's.

        Raises:
            AuthenticationError: no key, or one that is unknown, expired or revoked; all alike.
            RateLimitError: too many wrong keys from this address.
        """
        return ANONYMOUS
