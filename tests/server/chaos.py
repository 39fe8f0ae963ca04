"""Many requests at once, of which some are cancelled, time out or lose their client; then all must be as before."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import grpc
import httpx
from tritonclient.grpc import service_pb2_grpc

from tests.server.wire import outputs, request
from trident.errors import DeadlineExceededError
from trident_client import AsyncClient, Retry

CONCURRENCY = 64
MAX_TOKENS = 16
LONG = 100  # tokens of a request that is to be disturbed
# Leaves in the middle of a stream in the one way that tells nobody.
KILLED_CLIENT = """
import sys
from trident_client import Client
with Client(sys.argv[1]) as client, client.stream(sys.argv[2], max_tokens=int(sys.argv[3]), end_id=-1) as stream:
    for delta in stream:
        print(delta.text, flush=True)
"""


def prompt(number: int) -> str:
    """Counting, which has no near ties: the greedy answer is the same alone and in any batch."""
    return ", ".join(str(number % 700 + step) for step in range(5)) + ","


async def chaos(url: str, num_requests: int, seed: int) -> Counter[str]:
    """Send `num_requests`, most of them disturbed in one way or another, and check what each one says."""
    outcomes: Counter[str] = Counter()
    places = asyncio.Semaphore(CONCURRENCY)
    async with AsyncClient(url, retry=Retry(0)) as client:
        expected = {}
        num_prompts = min(70, num_requests // 4)
        for number in range(num_prompts):
            expected[number] = (await client.generate(prompt(number), max_tokens=MAX_TOKENS)).text

        async def one(number: int, how) -> None:
            async with places:
                await how(client, url, number % num_prompts, expected, random.Random(seed + number))
                outcomes[how.__name__] += 1

        kinds = [undisturbed, undisturbed, undisturbed, left, timed_out, cancelled, several, disconnected]
        order = [kinds[number % len(kinds)] for number in range(num_requests)]
        random.Random(seed).shuffle(order)
        await asyncio.gather(*[one(number, how) for number, how in enumerate(order)])
    return outcomes


async def undisturbed(client, _url, number, expected, _rng) -> None:
    assert (await client.generate(prompt(number), max_tokens=MAX_TOKENS)).text == expected[number]


async def left(client, _url, number, expected, rng) -> None:
    """The stream is left early, which cancels it."""
    most, text = rng.randrange(1, 6), ""
    async with client.stream(prompt(number), max_tokens=LONG, end_id=-1) as stream:
        async for delta in stream:
            text += delta.text
            most -= 1
            if most == 0:
                break
    assert expected[number].startswith(text) or text.startswith(expected[number])


async def timed_out(client, _url, number, _expected, rng) -> None:
    try:
        async with client.stream(
            prompt(number), max_tokens=2000, end_id=-1, timeout_ms=rng.randrange(1, 400)
        ) as stream:
            async for _ in stream:
                pass
    except DeadlineExceededError:
        return
    raise AssertionError("the deadline passed unheard")


async def several(_client, url, number, _expected, rng) -> None:
    """Three sequences of two rows each, asked of the ensemble and cancelled in the middle of it all."""
    request_id = f"several-{number}-{rng.random()}"
    message = request(
        request_id=request_id,
        text_input=("BYTES", [prompt(number).encode(), prompt(number + 1).encode()]),
        max_tokens=("INT32", [LONG, LONG]),
        num_return_sequences=("INT32", [3, 3]),
        temperature=("FP32", [1.0, 1.0]),
        end_id=("INT32", [-1, -1]),
        stream=("BOOL", [True, True]),
    )

    def ask() -> set[tuple[int, int]]:
        ended = set()
        with grpc.insecure_channel(url) as channel:
            for answer in service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([message])):
                assert not answer.error_message
                values = outputs(answer.infer_response)
                if "finish_reason" in values:
                    ended.add((values["batch_index"][0], values["sequence_index"][0]))
        return ended

    asked = asyncio.create_task(asyncio.to_thread(ask))
    await asyncio.sleep(rng.random())
    async with AsyncClient(url) as other:
        await other.cancel(request_id)
    assert await asked == {(row, index) for row in range(2) for index in range(3)}


async def cancelled(client, _url, number, _expected, rng) -> None:
    stream = client.stream(prompt(number), max_tokens=2000, end_id=-1)

    async def cancel_soon() -> None:
        await asyncio.sleep(rng.random() * 0.3)
        await client.cancel(stream.request_id)

    task = asyncio.create_task(cancel_soon())
    async with stream:
        reasons = [delta.finish_reason async for delta in stream]
    await task
    assert reasons[-1] == "cancelled"


async def disconnected(_client, url, number, _expected, _rng) -> None:
    """The connection is cut; nobody tells the engine."""
    message = request(
        text_input=("BYTES", [prompt(number).encode()]),
        max_tokens=("INT32", [LONG]),
        end_id=("INT32", [-1]),
        stream=("BOOL", [True]),
    )

    def cut() -> None:
        with grpc.insecure_channel(url) as channel:
            next(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([message])))

    await asyncio.to_thread(cut)


def kill_clients(url: str, count: int) -> None:
    """Client processes that are killed in the middle of their streams."""
    started = [
        subprocess.Popen([sys.executable, "-c", KILLED_CLIENT, url, prompt(n), str(LONG)], stdout=subprocess.PIPE)
        for n in range(count)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def gauge(metrics_url: str, family: str, kind: str) -> float:
    """One of upstream's gauges by the value of its own label."""
    text = httpx.get(f"http://{metrics_url}/metrics").text
    (found,) = re.findall(rf'^{family}\{{.*="{kind}".*\}} (\S+)$', text, re.MULTILINE)
    return float(found)


def wait_until_empty(metrics_url: str, timeout_s: float = 60) -> None:
    """No request waits or runs, no KV block is held."""
    deadline = time.monotonic() + timeout_s
    while True:
        left_over = {
            (family, kind): gauge(metrics_url, family, kind)
            for family, kind in (
                ("nv_trt_llm_request_metrics", "active"),
                ("nv_trt_llm_request_metrics", "waiting"),
                ("nv_trt_llm_request_metrics", "scheduled"),
                ("nv_trt_llm_kv_cache_block_metrics", "used"),
                ("nv_trt_llm_kv_cache_block_metrics", "fraction"),
            )
        }
        if not any(left_over.values()):
            return
        assert time.monotonic() < deadline, left_over
        time.sleep(0.2)
