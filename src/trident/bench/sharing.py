"""What requests of one engine have of each other: the time that a reused prefix saves, and what a long prompt costs."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trident.bench.overhead import timed_stream
from trident.bench.workload import cut_to_tokens, gaps_ms, percentile, prompts
from trident.manifest import read_manifest
from trident.text.tokenizer import Detokenizers, read_tokenizer
from trident_client import AsyncClient, Retry

PREFIX_TOKENS = 1000
FAIR_STREAMS = 16
FAIR_PROMPT_WORDS = 16
SPARE_TOKENS = 16  # below a limit: for the question behind a prefix, and for what a cut may add


@dataclass(frozen=True)
class SharingFigures:
    """Medians over the rounds."""

    prefix_tokens: int
    prefix_ttft_cold_ms: float
    prefix_ttft_warm_ms: float
    fair_streams: int
    itl_p99_alone_ms: float  # of the streams' responses
    itl_p99_beside_long_prompt_ms: float  # of those gaps that lie in the time of its prefill
    long_prompt_tokens: int
    long_prompt_ttft_ms: float


@dataclass(frozen=True)
class Prefix:
    """TTFT in ms of two requests with the same long beginning, one after the other."""

    cold_ms: float
    warm_ms: float


@dataclass(frozen=True)
class Fairness:
    """One round of streams, alone or beside a long prompt: the gaps between their responses in ms."""

    gaps_ms: list[float]
    long_prompt_ttft_ms: float = 0.0


class Texts:
    """Prompts of a given length in an engine's own tokens, none with the beginning of another."""

    def __init__(self, directory: Path) -> None:
        limits = read_manifest(directory).limits
        self.longest = min(limits.max_input_tokens, limits.max_seq_tokens) - SPARE_TOKENS  # tokens
        self._tokenizer = read_tokenizer(directory)
        self._detokenizer = Detokenizers(directory)(True)

    def of(self, num_tokens: int, seed: int) -> str:
        """A text of about `num_tokens` tokens."""
        return cut_to_tokens(prompts(1, num_tokens, seed)[0], num_tokens, self._tokenizer, self._detokenizer)


async def _first_response_ms(client: AsyncClient, text: str) -> float:
    sent, arrivals = await timed_stream(client, text, 2, time.perf_counter())
    return 1000 * (arrivals[0] - sent)


async def measure_prefix(client: AsyncClient, beginning: str) -> Prefix:
    """A fresh beginning with one question behind it, then with another."""
    cold_ms = await _first_response_ms(client, f"{beginning}\nHow long is this?")
    warm_ms = await _first_response_ms(client, f"{beginning}\nWhat is this?")
    return Prefix(cold_ms, warm_ms)


async def measure_fairness(client: AsyncClient, texts: Sequence[str], max_tokens: int, long_prompt: str) -> Fairness:
    """Streams that all run; beside them a long prompt, unless it is empty.

    Beside one, only the gaps count that end after it was sent and begin before its first token.
    """
    start = time.perf_counter()
    begun = [asyncio.Event() for _ in texts]
    streams = asyncio.gather(
        *[timed_stream(client, text, max_tokens, start, event.set) for text, event in zip(texts, begun, strict=True)]
    )
    running = asyncio.gather(*[event.wait() for event in begun])
    await asyncio.wait((streams, running), return_when=asyncio.FIRST_COMPLETED)  # streams: one of them failed
    running.cancel()
    begin, end, ttft_s = time.perf_counter() - start, math.inf, 0.0
    if long_prompt:
        begin, arrivals = await timed_stream(client, long_prompt, 2, start)
        end, ttft_s = arrivals[0], arrivals[0] - begin
    return Fairness(gaps_ms([arrivals for _, arrivals in await streams], begin, end), 1000 * ttft_s)


async def measure(
    directory: Path,
    grpc_url: str,
    *,
    max_tokens: int,
    long_prompt_tokens: int | None,
    repeats: int,
    report: Callable[[str], None],
) -> SharingFigures:
    """Both, on a server of the engine in `directory`.

    Args:
        directory: of the engine.
        grpc_url: of the server.
        max_tokens: of each of the streams that run beside a long prompt, which they should outlast.
        long_prompt_tokens: None: as many as the engine takes.
        repeats: rounds.
        report: told of each round in a line.

    Raises:
        TridentError: the engine cannot take such a workload, or a request failed.
    """
    texts = Texts(directory)
    prefix_tokens = min(PREFIX_TOKENS, texts.longest - SPARE_TOKENS)
    long_tokens = min(long_prompt_tokens or texts.longest, texts.longest)
    prefixes, alone, beside = [], [], []
    async with AsyncClient(grpc_url, retry=Retry(0)) as client:
        for repeat in range(-1, repeats):  # the first round warms up
            prefix = await measure_prefix(client, texts.of(prefix_tokens, seed=10_000 + repeat))
            words = prompts(2 * FAIR_STREAMS, FAIR_PROMPT_WORDS, seed=20_000 + repeat)
            long_prompt = texts.of(long_tokens, seed=30_000 + repeat)
            by_themselves = await measure_fairness(client, words[:FAIR_STREAMS], max_tokens, "")
            with_prompt = await measure_fairness(client, words[FAIR_STREAMS:], max_tokens, long_prompt)
            if repeat < 0:
                continue
            prefixes.append(prefix)
            alone.append(by_themselves)
            beside.append(with_prompt)
            report(
                f"round {repeat + 1}, TTFT of {prefix_tokens} tokens: {prefix.cold_ms:.0f} ms, {prefix.warm_ms:.0f} ms "
                f"again; ITL p99 beside {long_tokens} tokens: {percentile(with_prompt.gaps_ms, 99):.0f} ms, "
                f"alone {percentile(by_themselves.gaps_ms, 99):.0f} ms"
            )
    return SharingFigures(
        prefix_tokens=prefix_tokens,
        prefix_ttft_cold_ms=statistics.median(each.cold_ms for each in prefixes),
        prefix_ttft_warm_ms=statistics.median(each.warm_ms for each in prefixes),
        fair_streams=FAIR_STREAMS,
        itl_p99_alone_ms=statistics.median(percentile(each.gaps_ms, 99) for each in alone),
        itl_p99_beside_long_prompt_ms=statistics.median(percentile(each.gaps_ms, 99) for each in beside),
        long_prompt_tokens=long_tokens,
        long_prompt_ttft_ms=statistics.median(each.long_prompt_ttft_ms for each in beside),
    )
