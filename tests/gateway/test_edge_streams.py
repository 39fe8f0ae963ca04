"""Streams through the gateway as a process, from a simulated engine: clients that are killed, and a stop under load."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct

import httpx
import pytest

from tests.gateway.conftest import deployment_of
from tests.gateway.running_gateway import running_gateway

NUM_STREAMS = 24


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def draining(simulated, tmp_path):
    """A gateway that a test may stop; it keeps serving for a second and a half after it is told to."""
    values = {
        "deployments": {"replay": deployment_of(simulated)},
        "models": {"simulated": {"deployments": {"replay": 1}}},
        "server": {"lameduck_s": 1.5, "drain_s": 30, "heartbeat_s": 1},
    }
    with running_gateway(tmp_path, values) as running:
        yield running


def body(max_tokens: int) -> dict[str, object]:
    return {
        "model": "simulated",
        "messages": [{"role": "user", "content": "Tell me a story"}],
        "stream": True,
        "max_tokens": max_tokens,
    }


async def running_requests(client: httpx.AsyncClient) -> float:
    page = (await client.get("/metrics")).text
    return sum(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith("trident_gateway_running_requests{")
    )


async def until(is_so) -> None:
    for _ in range(1000):
        if await is_so():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it has not come about")


@pytest.mark.anyio
async def test_a_client_that_is_killed_in_mid_stream_leaves_nothing_running(gateway):
    host, port = gateway.url.removeprefix("http://").split(":")
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        sent = json.dumps(body(8000)).encode()
        headers = f"host: gateway\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}"
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{headers}"
        killed = socket.create_connection((host, int(port)), 10)
        killed.sendall(head.encode() + b"\r\n\r\n" + sent)
        assert await asyncio.to_thread(killed.recv, 200)
        assert await running_requests(client) == 1
        killed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, as of a dead process
        killed.close()

        async def none_runs() -> bool:
            return await running_requests(client) == 0

        await until(none_runs)


@pytest.mark.anyio
async def test_a_stop_under_load_loses_no_stream_and_takes_new_ones_until_it_has_said_so(draining):
    async with httpx.AsyncClient(base_url=draining.url, trust_env=False, timeout=60) as client:

        async def stream() -> tuple[int, bool]:
            async with client.stream("POST", "/v1/chat/completions", json=body(600)) as answer:
                lines = [line async for line in answer.aiter_lines() if line.startswith("data: ")]
                return len(lines), lines[-1] == "data: [DONE]"

        streams = [asyncio.create_task(stream()) for _ in range(NUM_STREAMS)]

        async def all_run() -> bool:
            return await running_requests(client) == NUM_STREAMS

        await until(all_run)
        draining.process.send_signal(signal.SIGTERM)

        async def says_so() -> bool:
            return (await client.get("/health/ready")).status_code == 503

        await until(says_so)
        late = asyncio.create_task(stream())
        assert (await client.get("/health/live")).status_code == 200
        ends = await asyncio.gather(*streams, late)
    assert all(is_done for _, is_done in ends), ends
    assert await asyncio.to_thread(draining.process.wait, 30) == 0
