"""Whose key is shown: looked up by its public part, kept for a few seconds so that the database is not asked each time.

A key that is revoked or rotated elsewhere stops within `KEPT_S` seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from trident.errors import AuthenticationError
from trident.gateway.database import Database
from trident.gateway.key_table import find_key
from trident.gateway.keys import ApiKey, digest_of, is_right, prefix_of

KEPT_S = 5.0
_MAX_KEPT = 10_000
_REFUSAL = "the API key is not valid: unknown, expired or revoked"


class KeyRing:
    """`clock`: for what is kept; `wall`: for expiry, in seconds since 1970."""

    def __init__(
        self,
        database: Database,
        pepper: bytes,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._wall = wall
        self._kept: dict[str, tuple[float, ApiKey | None]] = {}  # the one that was looked up longest ago comes first

    async def key_of(self, text: str) -> ApiKey:
        """The key.

        Raises:
            AuthenticationError: unknown, wrong, expired or revoked; all alike, and after the same work.
            UnavailableError: the database does not answer.
        """
        prefix = prefix_of(text)
        if prefix is None:
            raise AuthenticationError(_REFUSAL)
        key = await self._find(prefix)
        if not is_right(key, digest_of(self._pepper, text), self._wall()) or key is None:
            raise AuthenticationError(_REFUSAL)
        return key

    def has_seen(self, text: str) -> bool:
        """Whether there was a key with this public part a while ago; asks nobody."""
        prefix = prefix_of(text)
        return prefix is not None and self._kept.get(prefix, (0.0, None))[1] is not None

    async def _find(self, prefix: str) -> ApiKey | None:
        now = self._clock()
        kept = self._kept.get(prefix)
        if kept is not None and 0 <= now - kept[0] < KEPT_S:
            return kept[1]
        key = await self._database.run(lambda connection: find_key(connection, prefix))
        self._kept.pop(prefix, None)
        self._kept[prefix] = (now, key)
        if len(self._kept) > _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return key
