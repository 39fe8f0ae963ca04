"""Waiting for tasks: no longer than so many seconds, and for those that were cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """As `asyncio.wait_for`, which before Python 3.12 loses a cancel that comes when the work has just ended.

    Whoever leads would then never be told that its caller left.

    Raises:
        asyncio.TimeoutError: it took longer; it is cancelled.
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else may look
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    finally:
        task.cancel()
    if not task.done():
        raise asyncio.TimeoutError
    return task.result()


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and wait until each has ended, however that is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
