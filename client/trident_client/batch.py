"""Many prompts, a bounded number of them in flight: results as they come, never more than that many unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from trident.errors import InvalidRequestError, TridentError
from trident_client.completion import Completion
from trident_client.request import Prompt
from trident_client.sampling import Sampling


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch, where it is more than a prompt."""

    prompt: Prompt
    sampling: Sampling | None = None  # instead of the batch's
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of the request at `index` of the batch: a completion, or an error."""

    index: int
    completion: Completion | None = None
    error: TridentError | None = None


async def run_batch(
    ask: Callable[[BatchRequest], Awaitable[Completion]],
    requests: Iterable[Prompt | BatchRequest],
    max_in_flight: int,
) -> AsyncIterator[BatchResult]:
    """The results, in the order in which they come. Requests are taken from the iterable as places become free.

    Leaving early cancels what is in flight.

    Raises:
        InvalidRequestError: `max_in_flight` below 1.
    """
    if max_in_flight < 1:
        raise InvalidRequestError(f"max_in_flight must be 1 or more, got {max_in_flight}")
    results: asyncio.Queue[BatchResult | Exception] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()
    numbered = enumerate(requests)
    num_open = 0  # in flight or unread
    try:
        while True:
            while num_open < max_in_flight and (pair := next(numbered, None)) is not None:
                index, request = pair
                request = request if isinstance(request, BatchRequest) else BatchRequest(request)
                task = asyncio.create_task(_ask_one(ask, index, request, results))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                num_open += 1
            if not num_open:
                return
            result = await results.get()
            num_open -= 1
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_one(
    ask: Callable[[BatchRequest], Awaitable[Completion]],
    index: int,
    request: BatchRequest,
    results: asyncio.Queue[BatchResult | Exception],
) -> None:
    try:
        results.put_nowait(BatchResult(index, await ask(request)))
    except TridentError as exc:
        results.put_nowait(BatchResult(index, error=exc))
    except Exception as exc:  # noqa: BLE001 - raised where the results are read
        results.put_nowait(exc)
