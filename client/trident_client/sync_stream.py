"""A stream for callers without an event loop: an `AsyncStream` that is read on another thread, a little ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue

from trident.errors import RequestCancelledError
from trident_client.completion import Delta
from trident_client.loop_thread import LoopThread
from trident_client.stream import AsyncStream, State

READ_AHEAD = 64  # deltas at most that a slow reader leaves unread; after that the server waits


class Stream:
    """The deltas of one completion, as they come; see `AsyncStream`.

    Reading ahead costs one change of thread per delta instead of two.
    """

    def __init__(self, thread: LoopThread, stream: AsyncStream) -> None:
        self._thread = thread
        self._stream = stream
        self._reading: Future[None] | None = None
        self._arrived: SimpleQueue[Delta | Exception | None] = SimpleQueue()  # None, or an error, after the last
        self._has_room: asyncio.Event  # made on the loop
        self._is_over = False

    @property
    def request_id(self) -> str:
        """The id to cancel it by."""
        return self._stream.request_id

    @property
    def state(self) -> State:
        """Where the request is in its life; what has been read ahead may not have been seen yet."""
        return self._stream.state

    @property
    def num_retries(self) -> int:
        """How often it was sent again."""
        return self._stream.num_retries

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        if self._is_over:
            raise StopIteration
        if self._reading is None:
            self._reading = self._thread.start(self._read())
            self._reading.add_done_callback(self._wake_reader)
        arrived = self._arrived.get()
        if isinstance(arrived, Delta):
            if self._arrived.qsize() == READ_AHEAD // 2:
                self._thread.call(self._has_room.set)
            return arrived
        self._is_over = True
        raise arrived or StopIteration

    def close(self) -> None:
        """End the stream; if it was running, cancel the request on the server."""
        self._is_over = True
        if not self._thread.is_closing:
            self._thread.run(self._stream.aclose())
        if self._reading is not None:
            self._reading.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _read(self) -> None:
        self._has_room = asyncio.Event()
        try:
            async for delta in self._stream:
                self._arrived.put(delta)
                if self._arrived.qsize() >= READ_AHEAD:
                    await self._wait_for_room()
        except Exception as exc:  # noqa: BLE001 - raised where the deltas are read
            self._arrived.put(exc)
        else:
            self._arrived.put(None)

    async def _wait_for_room(self) -> None:
        """Until half has been read. The reader may have passed that point before it was waited for."""
        self._has_room.clear()
        while self._arrived.qsize() > READ_AHEAD // 2:
            await self._has_room.wait()
            self._has_room.clear()

    def _wake_reader(self, reading: Future[None]) -> None:
        """Another thread closed the stream or the client, maybe before `_read` ran at all."""
        if reading.cancelled():
            self._arrived.put(None if self._is_over else RequestCancelledError("the client was closed"))
