"""What waits for the database: on disk; where that is full in memory; and what has no room there is lost and counted.

Facts are worth more than texts: what was said gets half of the room on disk and none in memory. It knows no rows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from trident.gateway.ledger.spool import Spool

Kind = Literal["fact", "text"]
MAX_IN_MEMORY_BYTES = 16 << 20  # some 25,000 requests
_SHARES: dict[Kind, float] = {"fact": 1.0, "text": 0.5}
_SAY_EVERY_S = 60.0

_log = logging.getLogger(__name__)


class Backlog:
    """For one event loop."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        lost: Callable[[Kind], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` and `max_bytes` as of `Spool`; `lost` is told of each line that had no room.

        Raises:
            OSError: the folder cannot be made.
        """
        self.num_lost: Counter[Kind] = Counter()
        self._spool = Spool(folder, max_bytes)
        self._in_memory: deque[bytes] = deque()
        self._memory_bytes = 0
        self._lost = lost
        self._clock = clock
        self._said_at: dict[str, float] = {}
        self._refused: set[Kind] = set()  # by the disk, which is not asked again before the next round

    def put(self, line: bytes, kind: Kind = "fact") -> None:
        """Never waits and never raises."""
        if kind not in self._refused and self._is_on_disk(line, kind):
            return
        if kind == "fact" and self._memory_bytes + len(line) <= MAX_IN_MEMORY_BYTES:
            self._in_memory.append(line)
            self._memory_bytes += len(line)
        else:
            self.lose(kind)

    def lose(self, kind: Kind) -> None:
        """One of these was given up."""
        self.num_lost[kind] += 1
        self._lost(kind)
        told = ", ".join(f"{number} {name}s" for name, number in sorted(self.num_lost.items()))
        self._say("loss", f"the ledger has no room: {told} lost since the start")

    async def bring(self, take: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
        """Hand over everything that was put before, and forget what was taken.

        Raises:
            Exception: what `take` raises; what it had not taken stays. OSError: the spool cannot be read.
        """
        self._refused.clear()
        self._spool.cut()
        for segment in await asyncio.to_thread(self._spool.segments):  # one at a time: all may be much
            lines = await asyncio.to_thread(self._spool.read, segment)
            if lines is not None:
                await take(lines)
                self._spool.remove(segment)
        while self._in_memory:
            lines = list(self._in_memory)
            await take(lines)
            for line in lines:
                self._in_memory.popleft()
                self._memory_bytes -= len(line)

    def settle(self) -> None:
        """At the end of the process, with which its memory goes: to the disk, as far as there is room now."""
        self._refused.clear()
        while self._in_memory:
            line = self._in_memory.popleft()
            self._memory_bytes -= len(line)
            if "fact" in self._refused or not self._is_on_disk(line, "fact"):
                self.lose("fact")
        self._spool.cut()

    def _is_on_disk(self, line: bytes, kind: Kind) -> bool:
        try:
            if self._spool.append(line, _SHARES[kind]):
                return True
            self._refused.add(kind)
        except OSError as exc:
            self._refused.update(_SHARES)
            self._say("disk", f"the ledger's spool cannot be written ({exc}); facts wait in memory")
        return False

    def _say(self, what: str, message: str) -> None:
        """Once a minute: it may be true of every request."""
        now = self._clock()
        if now - self._said_at.get(what, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said_at[what] = now
            _log.error("%s", message)
