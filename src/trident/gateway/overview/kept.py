"""What takes time to find out, kept for a moment: however many pages look, it is asked once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from trident.errors import TridentError

T = TypeVar("T")


class Kept(Generic[T]):
    """`read` is given `patience_s`; its answer is kept for `fresh_s`, that it failed too."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        fresh_s: float,
        patience_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._patience_s = patience_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._read_at = -math.inf

    async def get(self) -> T | None:
        """None: it could not be found out."""
        async with self._lock:
            if self._clock() - self._read_at >= self._fresh_s:
                try:
                    self._value = await asyncio.wait_for(self._read(), self._patience_s)
                except (TridentError, asyncio.TimeoutError):
                    self._value = None
                self._read_at = self._clock()
            return self._value
