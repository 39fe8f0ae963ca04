"""Texts are redacted in a thread, so many at a time; what cannot be redacted is not kept."""

import asyncio
import threading

from tests.unit.gateway.loop import run
from trident.gateway.ledger.redaction import Redaction


async def submitted(redaction, *texts):
    """What may be kept of each."""
    found = [asyncio.get_running_loop().create_future() for _ in texts]
    for text, future in zip(texts, found, strict=True):
        redaction.submit([text], future.set_result)
    return await asyncio.gather(*found)


def test_each_text_comes_back_as_what_may_be_kept_of_it():
    async def use():
        redaction = Redaction(str.upper)
        found = await submitted(redaction, "a", "b")
        await redaction.close()
        return found

    assert run(use()) == [["A"], ["B"]]


def test_what_comes_too_fast_is_not_taken_and_later_it_is():
    async def use():
        may_go_on = threading.Event()

        def redact(text):
            may_go_on.wait(20)
            return text

        redaction = Redaction(redact, max_waiting_chars=100)
        waiting = asyncio.ensure_future(submitted(redaction, "x" * 60, "y" * 60, "z" * 30))
        await asyncio.sleep(0)
        may_go_on.set()
        found = await waiting
        found += await submitted(redaction, "y" * 60)
        await redaction.close()
        return found

    assert run(use()) == [["x" * 60], None, ["z" * 30], ["y" * 60]]


def test_one_that_is_longer_than_the_bound_is_taken_when_nothing_waits():
    async def use():
        redaction = Redaction(str.upper, max_waiting_chars=3)
        found = await submitted(redaction, "abcd")
        await redaction.close()
        return found

    assert run(use()) == [["ABCD"]]


def test_what_cannot_be_redacted_is_not_kept(caplog):
    def redact(text):
        if text == "bad":
            raise ValueError("not this one")
        return text

    async def use():
        redaction = Redaction(redact)
        found = await submitted(redaction, "bad", "good")
        await redaction.close()
        return found

    assert run(use()) == [None, ["good"]]
    assert "could not be redacted" in caplog.text
