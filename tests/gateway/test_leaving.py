"""A client that leaves frees its slot at once, whole answer or stream: told by the engine's own counters."""

import asyncio
import time

import httpx
import pytest

from trident_client import AsyncClient

NUM_CLIENTS = 20
TOKENS_PER_S = 200  # of every stream of the simulated engine
STAY_S = 0.5
FREE_S = 0.2  # from the client's leaving to the free slot
BODY = {"model": "simulated", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4000}


async def counts(client):
    """Requests that were cancelled, and tokens that were generated, since the engine began."""
    metrics = await client.metrics()
    cancelled = metrics.total("trident_requests_total", finish_reason="cancelled")
    return cancelled, metrics.total("trident_generated_tokens_total")


async def leave(http, stream):
    """Ask, stay a while, and drop the connection; seconds from the question to that."""
    began = time.monotonic()
    asking = asyncio.create_task(read(http, {**BODY, "stream": stream}))
    await asyncio.sleep(STAY_S)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return time.monotonic() - began


async def read(http, body):
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_raw():
            pass


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_engine_works_for_nobody_who_has_left(gateway, simulated, stream):
    async def check():
        server = AsyncClient(simulated.grpc_url, metrics_url=f"http://{simulated.metrics_url}/metrics")
        limits = httpx.Limits(max_connections=None)
        async with server, httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False, limits=limits) as http:
            await leave(http, stream)  # the gateway has asked the engine how it takes a cancel
            await asyncio.sleep(1)
            cancelled, generated = await counts(server)
            stays_s = await asyncio.gather(*[leave(http, stream) for _ in range(NUM_CLIENTS)])
            deadline = time.monotonic() + 5
            now_cancelled, now_generated = await counts(server)
            while now_cancelled < cancelled + NUM_CLIENTS and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                now_cancelled, now_generated = await counts(server)
            assert now_cancelled == cancelled + NUM_CLIENTS
            worked_s = (now_generated - generated) / TOKENS_PER_S
            assert worked_s <= sum(stays_s) + NUM_CLIENTS * FREE_S

    asyncio.run(check())
