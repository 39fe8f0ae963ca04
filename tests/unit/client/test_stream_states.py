"""Whatever comes from the server and whatever the reader does, in whatever order: one final state, and it stays."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.examples import many

from trident.errors import (
    DeadlineExceededError,
    EngineError,
    QueueFullError,
    RequestCancelledError,
    TridentError,
    UnavailableError,
)
from trident_client import AsyncStream, Delta, Retry
from trident_client.attempts import Attempts
from trident_client.pool import Endpoint, Pool
from trident_client.request import Request
from trident_client.sampling import Sampling
from trident_client.stream import FINAL
from trident_client.tracing import Span

ERRORS = (EngineError, UnavailableError, QueueFullError, DeadlineExceededError, RequestCancelledError)
FROM_SERVER = st.one_of(
    st.builds(
        Delta, st.sampled_from(["", "a", "é"]), st.sampled_from(["", "", "stop"]), sequence_index=st.integers(0, 1)
    ),
    st.sampled_from([leaf("it failed") for leaf in ERRORS]),
    st.none(),  # the end
    st.just("wait"),  # until the reader does something else
)  # fmt: skip
BY_READER = st.lists(
    st.sampled_from(["read", "read", "read", "close", "interrupt", "leave it reading", "let time pass"]), max_size=12
)


class ScriptedCall:
    """A `Call` over a list; it ends as a real one does when it is closed."""

    def __init__(self, steps):
        self._steps = steps
        self._closed = asyncio.Event()

    async def read(self):
        await asyncio.sleep(0)
        if self._closed.is_set():
            raise RequestCancelledError("the stream was closed")
        step = self._steps.pop(0) if self._steps else "wait"
        if step == "wait":
            await self._closed.wait()
            raise RequestCancelledError("the stream was closed")
        if isinstance(step, TridentError):
            raise step
        return step

    async def close(self):
        self._closed.set()


class ScriptedTransport:
    def __init__(self, answers):
        self.answers = answers
        self.num_calls = 0

    def open(self, _request):
        self.num_calls += 1
        return ScriptedCall(self.answers.pop(0) if self.answers else [None])

    async def is_live(self):
        return False


def make_stream(transport, cancels, timeout_s):
    async def prepare(_transport):
        await asyncio.sleep(0)
        return Request("id", "ensemble", (), is_streaming=True)

    async def cancel(request_id, _endpoint):
        cancels.append(request_id)

    pool = Pool([Endpoint("nowhere", transport)])
    attempts = Attempts("id", pool, Retry(2, first_wait_s=0), prepare, cancel, set())
    return AsyncStream(attempts, Span("chat", "ensemble", "id", Sampling()), timeout_s=timeout_s), pool


class Reader:
    """Reads a stream, in one task at a time. `seen`: what the reads gave: deltas, "end" or an error each."""

    def __init__(self, stream):
        self.seen = []
        self.tasks = []
        self._stream = stream

    async def act(self, action):
        if action == "let time pass":
            await asyncio.sleep(0.001)
        elif action == "close":
            await self._stream.aclose()
        elif all(task.done() for task in self.tasks):
            self.tasks.append(asyncio.create_task(self._read()))
            if action == "read":
                await asyncio.wait(self.tasks[-1:], timeout=0.005)
            elif action == "interrupt":
                await asyncio.sleep(0)
                self.tasks[-1].cancel()
                await asyncio.wait(self.tasks[-1:])

    async def _read(self):
        try:
            self.seen.append(await anext(self._stream))
        except StopAsyncIteration:
            self.seen.append("end")
        except TridentError as exc:
            self.seen.append(exc)


async def act(stream, actions):
    """Do what the reader does, and leave; returns what it saw."""
    reader = Reader(stream)
    for action in actions:
        await reader.act(action)
    await stream.aclose()
    if reader.tasks:
        await asyncio.wait(reader.tasks, timeout=20)
    assert all(task.done() for task in reader.tasks), "a reader hangs"
    return reader.seen


@many(3)
@given(st.lists(st.lists(FROM_SERVER, max_size=6), max_size=3), BY_READER, st.sampled_from([None, None, 0.002]))
def test_any_interleaving_ends_in_exactly_one_final_state(answers, actions, timeout_s):
    async def run():
        transport, cancels = ScriptedTransport([list(steps) for steps in answers]), []
        stream, pool = make_stream(transport, cancels, timeout_s)
        states = []
        watcher = asyncio.create_task(_watch(stream, states))
        seen = await act(stream, actions)
        state = stream.state
        await stream.aclose()
        again = [delta async for delta in stream]
        watcher.cancel()

        assert state in FINAL
        assert stream.state == state
        assert again == []
        finals = [each for each in dict.fromkeys([*states, state]) if each in FINAL]
        assert finals == [state], "it was in another final state before"
        errors = [each for each in seen if isinstance(each, TridentError)]
        assert len(errors) == (state == "failed")
        if errors:
            assert all(each == "end" for each in seen[seen.index(errors[0]) + 1 :])
        assert pool.endpoints[0].num_running == 0
        assert transport.num_calls <= 3
        if state == "ended":
            assert cancels == []

    asyncio.run(run())


async def _watch(stream, states):
    while True:
        states.append(stream.state)
        await asyncio.sleep(0)
