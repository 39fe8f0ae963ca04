"""An answer is kept for its time, and everybody who asks meanwhile shares one question."""

import asyncio

from tests.unit.gateway.clock import Clock
from tests.unit.gateway.loop import run
from trident.errors import UnavailableError
from trident.gateway.overview.kept import Kept


class Source:
    """Counts how often it is asked; fails, or never answers, where it is told to."""

    def __init__(self):
        self.num_asked = 0
        self.failure = None
        self.hangs = False

    async def read(self):
        self.num_asked += 1
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return self.num_asked


def test_many_who_ask_at_once_ask_once():
    async def use():
        source = Source()
        kept = Kept(source.read, 1.0, clock=Clock())
        assert await asyncio.gather(*[kept.get() for _ in range(5)]) == [1] * 5

    run(use())


def test_it_is_asked_again_when_its_time_is_over():
    async def use():
        source, clock = Source(), Clock()
        kept = Kept(source.read, 1.0, clock=clock)
        assert await kept.get() == 1
        clock.now = 0.9
        assert await kept.get() == 1
        clock.now = 1.0
        assert await kept.get() == 2

    run(use())


def test_a_failure_and_silence_are_nothing_for_as_long():
    """So that a database that is away is not asked by every look."""

    async def use():
        source, clock = Source(), Clock()
        kept = Kept(source.read, 1.0, patience_s=0.01, clock=clock)
        source.failure = UnavailableError("away")
        assert [await kept.get(), await kept.get()] == [None, None]
        assert source.num_asked == 1
        clock.now, source.hangs = 1.0, True
        assert await kept.get() is None
        clock.now, source.hangs, source.failure = 2.0, False, None
        assert await kept.get() == 3

    run(use())
