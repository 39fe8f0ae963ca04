"""A response while it is generated and streamed: its events, and its row when it ends, however it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from trident.errors import TridentError
from trident.gateway.edge.errors import ApiError, api_error_of
from trident.gateway.exchange import Exchange
from trident.gateway.openai_api.response_events import ResponseEvents
from trident.gateway.openai_api.response_store import ResponseStore
from trident_client.completion import Delta


class ResponseStream:
    """`pieces` for the client, then `close`. `exchange` has started; `store` None: nothing is kept."""

    def __init__(
        self,
        exchange: Exchange,
        events: ResponseEvents,
        request_id: str,
        tenant: str,
        store: ResponseStore | None,
        names: Callable[[Delta], Awaitable[Mapping[int, bytes]]],
    ) -> None:
        """`names`: the texts of a delta's `top_ids`."""
        self._exchange = exchange
        self._events = events
        self._request_id = request_id
        self._tenant = tenant
        self._store = store
        self._names = names

    async def pieces(self) -> AsyncIterator[bytes]:
        """All events. The row is as the last one says before that is sent: clients go on with it at once."""
        yield self._events.begin()
        try:
            async for delta in self._exchange:
                piece = self._events.of(delta, await self._names(delta)) if delta.top_ids else self._events.of(delta)
                if piece:
                    yield piece
            last = self._events.end()
        except TridentError as exc:
            last = self.failed(api_error_of(exc, self._request_id))
        await self._keep()
        yield last

    def failed(self, error: ApiError) -> bytes:
        """The events of a failure."""
        return self._events.fail(error)

    async def close(self) -> None:
        """Once, whether the client has read all or has left."""
        self._events.leave()
        try:
            await self._exchange.aclose()
        finally:
            await self._keep()

    async def _keep(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.end(self._tenant, self._events.response)
