"""What serving costs: the ensemble over gRPC streaming against the raw engine, same prompts, in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trident.admission import check_max_tokens, check_prompt
from trident.bench.raw_engine import RawEngine
from trident.bench.workload import Figures, Run, figures, median_figures, prompts
from trident.errors import EngineError
from trident.manifest import read_manifest
from trident.text.tokenizer import read_tokenizer
from trident_client import AsyncClient, Retry

Side = dict[int, Figures]  # concurrency -> medians


async def timed_stream(
    client: AsyncClient, prompt: str, max_tokens: int, start: float, on_response: Callable[[], None] = lambda: None
) -> tuple[float, list[float]]:
    """When it was sent and when its responses came, in seconds after `start`; EOS is ignored.

    Raises:
        EngineError: it has not as many tokens as were asked for.
    """
    sent = time.perf_counter() - start
    arrivals = []
    num_tokens: int | None = 0
    async with client.stream(prompt, max_tokens=max_tokens, end_id=-1) as stream:
        async for delta in stream:
            if delta.text or delta.finish_reason:
                arrivals.append(time.perf_counter() - start)
                on_response()
            num_tokens = delta.num_output_tokens or num_tokens
    if num_tokens != max_tokens:
        raise EngineError(f"a stream ended after {num_tokens} of {max_tokens} tokens")
    return sent, arrivals


async def run_ensemble(client: AsyncClient, texts: Sequence[str], max_tokens: int) -> Run:
    """Complete all texts at once, one stream each, EOS ignored."""
    start = time.perf_counter()
    streams = await asyncio.gather(*[timed_stream(client, text, max_tokens, start) for text in texts])
    wall_s = time.perf_counter() - start
    return Run(wall_s, max_tokens * len(texts), [times for _, times in streams], [sent for sent, _ in streams])


async def measure(
    engine_directory: Path,
    grpc_url: str,
    concurrencies: Sequence[int],
    prompt_words: int,
    max_tokens: int,
    repeats: int,
    report: Callable[[str], None],
) -> tuple[Side, Side]:
    """Medians of `repeats` runs at each concurrency: the raw engine's and the ensemble's.

    Raises:
        InvalidRequestError, PromptTooLongError: the engine cannot take such a workload.
    """
    tokenizer = read_tokenizer(engine_directory)
    limits = read_manifest(engine_directory).limits
    check_max_tokens(max_tokens, limits)
    check_prompt(len(tokenizer.encode_prompts(prompts(1, prompt_words, seed=0), True)[0]), max_tokens, limits)
    raw: dict[int, list[Figures]] = {number: [] for number in concurrencies}
    served: dict[int, list[Figures]] = {number: [] for number in concurrencies}
    with RawEngine(engine_directory) as engine:
        async with AsyncClient(grpc_url, retry=Retry(0)) as client:
            for repeat in range(-1, repeats):  # the first round warms both up
                for number in concurrencies:
                    texts = prompts(number, prompt_words, seed=1000 * (repeat + 1) + number)
                    first = engine.run(tokenizer.encode_prompts(texts, add_special_tokens=True), max_tokens)
                    second = await run_ensemble(client, texts, max_tokens)
                    if repeat < 0:
                        continue
                    raw[number].append(figures(first))
                    served[number].append(figures(second))
                    rates = f"{raw[number][-1].tokens_per_s:7.1f} raw, {served[number][-1].tokens_per_s:7.1f} ensemble"
                    report(f"round {repeat + 1}, {number:>2} streams, tokens/s: {rates}")
    return (
        {number: median_figures(runs) for number, runs in raw.items()},
        {number: median_figures(runs) for number, runs in served.items()},
    )
