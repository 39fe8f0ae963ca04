"""Promises over many requests: memory stays flat, and nothing is held at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.server.chaos import wait_until_empty
from tests.server.wire import request, stream_infer
from trident.contract import ENGINE
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_client import AsyncClient, Retry

CONCURRENCY = 48
MAX_BYTES = 2_000_000  # that any process may grow by in the second half, and this for each of its requests:
MAX_REQUEST_BYTES = 200


@pytest.fixture(scope="module")
def replay_server(deployment, simulated_engine):
    """A server of its own, whose memory is looked at; simulated, so that it is the serving path's alone."""
    changes = {"engines": simulated_engine, "engine": "replay-smollm2", **free_ports()}
    with running_server(deployment.model_copy(update=changes)) as running:
        yield running


def resident_bytes(server) -> dict[str, int]:
    """Of the server and of each model's process."""
    pids = {"tritonserver": server.process_id, **server.model_process_ids()}
    pages = {name: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for name, pid in pids.items()}
    return {name: count * 4096 for name, count in pages.items()}


async def many(url: str, num_requests: int) -> None:
    places = asyncio.Semaphore(CONCURRENCY)
    async with AsyncClient(url, retry=Retry(0)) as client:

        async def one(number: int) -> None:
            async with places:
                texts = []
                async with client.stream(f"request {number}", max_tokens=8, request_id=f"r{number}") as stream:
                    async for delta in stream:
                        texts.append(delta.text)
                assert "".join(texts).startswith("This answer is simulated")
                assert (delta.finish_reason, delta.num_output_tokens) == ("length", 8)
                assert delta.report["simulated"]

        await asyncio.gather(*[one(number) for number in range(num_requests)])


@pytest.mark.parametrize("num_requests", [1500, pytest.param(20_000, marks=pytest.mark.soak)])
def test_memory_is_flat_over_many_requests(replay_server, num_requests):
    asyncio.run(many(replay_server.grpc_url, num_requests // 2))
    before = resident_bytes(replay_server)
    asyncio.run(many(replay_server.grpc_url, num_requests // 2))
    after = resident_bytes(replay_server)
    for name in before:
        most = MAX_BYTES * (4 if num_requests < 10_000 else 1) + MAX_REQUEST_BYTES * num_requests // 2
        assert after[name] - before[name] < most, (name, before, after)
    wait_until_empty(replay_server.metrics_url)


def test_requests_may_end_while_they_are_asked_whether_anybody_listens(replay_server):
    """Direct ones are asked every 0.1 s; tritonserver dies when a question comes behind the last response (2.51)."""
    process_id = replay_server.process_id
    for _ in range(3):
        messages = [
            request(
                ENGINE.name,
                str(number),
                input_ids=("INT32", [1, 2], np.array([5, 6], np.int32).tobytes()),
                input_lengths=("INT32", [2]),
                request_output_len=("INT32", [10 + number % 50]),  # 0.05 to 0.3 s
                end_id=("INT32", [-1]),
            )
            for number in range(400)
        ]
        answers = stream_infer(replay_server.grpc_url, *messages)
        assert {answer.id for answer in answers} == {str(number) for number in range(400)}
    assert replay_server.process_id == process_id
    wait_until_empty(replay_server.metrics_url)
