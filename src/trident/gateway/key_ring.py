"""Whose key is shown: looked up by its public part, kept for a few seconds so that the database is not asked each time.

A key that is revoked or rotated elsewhere stops within `KEPT_S` seconds. While the database is away, one that was good
before goes on for a few minutes: serving does not end with it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from trident.errors import AuthenticationError, UnavailableError
from trident.gateway.database import Database
from trident.gateway.key_table import find_key
from trident.gateway.keys import ApiKey, digest_of, is_right, prefix_of

KEPT_S = 5.0
AWAY_S = 300.0  # that a key goes on without the database
_PATIENCE_S = 2.0  # for the database
_REST_S = 1.0  # between two attempts while it is away
_MAX_KEPT = 10_000
_REFUSAL = "the API key is not valid: unknown, expired or revoked"
_NO_ANSWER = "the gateway's database does not answer; ask again later"


class KeyRing:
    """`clock`: for what is kept; `wall`: for expiry, in seconds since 1970; `patience_s`: for the database."""

    def __init__(
        self,
        database: Database,
        pepper: bytes,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._wall = wall
        self._patience_s = patience_s
        self._failed_at = -math.inf  # when the database last did not answer
        self._kept: dict[str, tuple[float, ApiKey | None]] = {}  # the one that was looked up longest ago comes first

    async def key_of(self, text: str) -> ApiKey:
        """The key.

        Raises:
            AuthenticationError: unknown, wrong, expired or revoked; all alike, and after the same work.
            UnavailableError: the database does not answer, and the key was not good lately.
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
        looked_up_at, before = self._kept.get(prefix, (-math.inf, None))
        if 0 <= now - looked_up_at < KEPT_S:
            return before
        try:
            key = await self._look_up(prefix, now)
        except UnavailableError:
            if before is None or not 0 <= now - looked_up_at < AWAY_S:
                raise
            return before
        self._kept.pop(prefix, None)
        self._kept[prefix] = (now, key)
        if len(self._kept) > _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return key

    async def _look_up(self, prefix: str, now: float) -> ApiKey | None:
        """Raises UnavailableError: the database does not answer, or did not a moment ago."""
        if 0 <= now - self._failed_at < _REST_S:
            raise UnavailableError(_NO_ANSWER)
        try:
            return await asyncio.wait_for(
                self._database.run(lambda connection: find_key(connection, prefix)), self._patience_s
            )
        except (UnavailableError, asyncio.TimeoutError) as exc:
            self._failed_at = now
            raise UnavailableError(_NO_ANSWER) from exc
