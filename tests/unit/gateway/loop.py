"""What the tests of the gateway do with an event loop."""

import asyncio
import inspect


def run(coroutine):
    """What it gives, in a loop of its own; no test hangs for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def turns(number=100):
    """Give everybody else the loop so often: more than anything here needs that waits for nothing."""
    for _ in range(number):
        await asyncio.sleep(0)


async def until(condition):
    """What a function gives, which may be async, once it is true: for what nobody tells of."""
    for _ in range(4000):
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.005)
    raise AssertionError("it has not come about in 20 s")
