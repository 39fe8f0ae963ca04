"""The exchanges behind one HTTP request, one for each prompt: begun together, read as one, closed together."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from trident.errors import RequestCancelledError, TridentError
from trident.gateway.asked import Asked
from trident.gateway.exchange import Exchange
from trident.gateway.gateway import Gateway
from trident.gateway.patience import cancel_all
from trident_client.completion import Completion, Delta
from trident_client.openai_response import Names

T = TypeVar("T")


class Generation:
    """`start`, then deltas or completions, then `close`, which is allowed at any time."""

    def __init__(self, gateway: Gateway, asked: Sequence[Asked]) -> None:
        self._gateway = gateway
        self._model, self._request_id = asked[0].model, asked[0].request_id
        self._exchanges = [gateway.exchange(each) for each in asked]
        self._open: list[Exchange] = []

    async def start(self) -> None:
        """Wait until each prompt's answer has begun; when one cannot begin, none goes on.

        Raises:
            TridentError: as `Exchange.start`.
        """
        try:
            if len(self._exchanges) == 1:
                await self._enter(self._exchanges[0])
            else:
                await _all([self._enter(exchange) for exchange in self._exchanges])
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End what still runs."""
        exchanges, self._open = self._open, []
        await asyncio.gather(*[exchange.__aexit__(None, None, None) for exchange in exchanges])

    def headers(self) -> Mapping[str, str]:
        """Of the response."""
        return self._exchanges[0].headers()

    @property
    def fingerprint(self) -> str:
        """OpenAI's `system_fingerprint`: changes when another deployment, or another version of it, answers."""
        name = self._exchanges[0].outcome.deployment
        deployment = self._gateway.config.deployments.get(name)
        version = "" if deployment is None else f"{deployment.ensemble}:{deployment.version}"
        return f"fp_{hashlib.blake2s(f'{name}:{version}'.encode(), digest_size=6).hexdigest()}"

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Number of the prompt and delta, as they come.

        Raises:
            TridentError: one failed, and so all did.
        """
        if len(self._exchanges) == 1:
            async for delta in self._exchanges[0]:
                yield 0, _whole(delta)
            return
        async for number, delta in self._merged():
            yield number, _whole(delta)

    async def completions(self) -> list[Completion]:
        """The whole answers, by prompt; errors as of `deltas`."""
        completions = await _all([exchange.completion() for exchange in self._exchanges])
        for completion in completions:
            for each in (completion, *completion.others):
                if each.finish_reason == "cancelled":
                    raise _cancelled()
        return completions

    async def names(self, *answers: Delta | Completion) -> Names:
        """The texts of the likeliest tokens that they tell by their ids."""
        return await self._gateway.text_models.names_in(self._model, self._request_id, *answers)

    async def _enter(self, exchange: Exchange) -> None:
        await exchange.__aenter__()
        self._open.append(exchange)

    async def _merged(self) -> AsyncIterator[tuple[int, Delta]]:
        queue: asyncio.Queue[tuple[int, Delta | TridentError | None]] = asyncio.Queue(len(self._exchanges))

        async def pump(number: int, exchange: Exchange) -> None:
            end: TridentError | None = None
            try:
                async for delta in exchange:
                    await queue.put((number, delta))
            except TridentError as exc:
                end = exc
            await queue.put((number, end))

        tasks = [asyncio.ensure_future(pump(*numbered)) for numbered in enumerate(self._exchanges)]
        num_open = len(tasks)
        try:
            while num_open:
                number, item = await queue.get()
                if isinstance(item, TridentError):
                    raise item
                if item is None:
                    num_open -= 1
                else:
                    yield number, item
        finally:
            await cancel_all(*tasks)


def _whole(delta: Delta) -> Delta:
    if delta.finish_reason == "cancelled":
        raise _cancelled()
    return delta


def _cancelled() -> RequestCancelledError:
    return RequestCancelledError("the request was cancelled on the server")


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What each gives; the first failure ends the others, which have ended when it is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        await cancel_all(*tasks)
        raise
