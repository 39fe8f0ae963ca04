"""The types that a user sees, for mypy: read by test_types.py, never run."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from typing_extensions import assert_type

from trident_client import (
    AsyncClient,
    AsyncStream,
    BatchResult,
    Client,
    Completion,
    Delta,
    Embeddings,
    Health,
    Metrics,
    PerfMetrics,
    Sampling,
    ServedModel,
    Stream,
)


def sync(client: Client) -> None:
    assert_type(client.generate("Hi"), Completion)
    assert_type(client.chat([{"role": "user", "content": "Hi"}], Sampling(max_tokens=3), temperature=0.5), Completion)
    assert_type(client.chat("Hi", timeout_s=1.0).others, tuple[Completion, ...])
    with client.stream("Hi", request_id="a") as stream:
        assert_type(stream, Stream)
        for delta in stream:
            assert_type(delta, Delta)
            assert_type(delta.text, str)
            assert_type(delta.log_probs, tuple[float, ...])
            assert_type(delta.perf_metrics, PerfMetrics | None)
            assert_type(delta.num_output_tokens, int | None)
        assert_type(stream.request_id, str)
    assert_type(client.batch(["one", "two"]), Iterator[BatchResult])
    assert_type(client.embed(["one", "two"]), Embeddings)
    assert_type(client.embed("one").num_tokens, tuple[int, ...])
    assert_type(client.is_ready(), bool)
    assert_type(client.health(), tuple[Health, ...])
    assert_type(client.models(), tuple[ServedModel, ...])
    assert_type(client.metrics(), Metrics)
    assert_type(client.metrics().total("up"), float | None)


async def asynchronous(client: AsyncClient) -> None:
    assert_type(await client.generate("Hi"), Completion)
    assert_type(await client.chat("Hi"), Completion)
    async with client.stream("Hi") as stream:
        assert_type(stream, AsyncStream)
        async for delta in stream:
            assert_type(delta, Delta)
    assert_type(client.batch(["one"]), AsyncIterator[BatchResult])
    assert_type(await client.embed("one"), Embeddings)
    assert_type(await client.health(), tuple[Health, ...])
    assert_type(await client.models(), tuple[ServedModel, ...])
    assert_type(await client.metrics(), Metrics)


def mistakes(client: Client, value: Any) -> None:
    client.generate(7)  # type: ignore[arg-type]
    client.generate("Hi", "not a sampling")  # type: ignore[arg-type]
    client.stream("Hi").text()  # type: ignore[attr-defined]
    Client("127.0.0.1:8001", "carrier pigeon")  # type: ignore[arg-type]
    Delta("a").text = value  # type: ignore[misc]
    Sampling(max_tokens="8")  # type: ignore[arg-type]
