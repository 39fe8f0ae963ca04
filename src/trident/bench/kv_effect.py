"""What the precision of the KV cache changes: bytes a token, tokens/s behind a long prompt, and the answers."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trident.bench.engine_side import (
    EngineSide,
    Say,
    Workload,
    equal_fraction,
    in_turn,
    num_equal_tokens,
    side_by_side,
)
from trident.bench.engine_variants import held_mib, link_engine, loaded
from trident.bench.workload import prompts
from trident.engines.openvino_limits import KV_BLOCK_TOKENS, max_blocks_of
from trident.evaluate.quality import held_out_text
from trident.evaluate.speed import Answer
from trident.manifest import read_manifest

OPTION = "KV_CACHE_PRECISION"
PRECISIONS = ("f16", "u8")
STREAMS = (1, 16)
NUM_PASSAGES = 8  # whose continuations are compared
_MIB = 1 << 20


def measure(built: Path, folder: Path, workload: Workload, repeats: int, say: Say) -> dict[str, Any]:
    """f16 against u8; see `lora_effect.measure`. Each prompt is the same in all rounds, so that it is in the cache."""
    first, second = (_link(built, folder / precision, workload, precision) for precision in PRECISIONS)

    def texts(count: int, _: int) -> list[str]:
        return prompts(count, workload.context_words, seed=count)

    with loaded(first) as engine, loaded(second) as other:
        pairs = ((first, engine), (second, other))
        sides = dict(zip(PRECISIONS, (EngineSide(*pair, workload.request()) for pair in pairs), strict=True))
        others = prompts(max(STREAMS), workload.context_words, seed=0)
        sizes = [_bytes_per_token(side, others, texts(max(STREAMS), 0)) for side in sides.values()]
        found = side_by_side(asyncio.run(in_turn(sides, texts, STREAMS, repeats, say)))
        answers = []
        for pair in pairs:
            side = EngineSide(*pair, workload.request(wants_log_probs=True), at_once=False)
            asyncio.run(side(passages(NUM_PASSAGES, workload.context_words)))
            answers.append(side.answers)
    return {
        **{f"{precision}_bytes_per_token": size for precision, size in zip(PRECISIONS, sizes, strict=True)},
        "bytes_ratio": sizes[1] / sizes[0],
        **found,
        "equal_fraction": equal_fraction(*answers),
        "log_prob_difference": log_prob_difference(*answers),
    }


def passages(count: int, num_words: int) -> list[str]:
    """So many pieces of the held-out text, which do not overlap."""
    words = held_out_text().split()
    return [" ".join(words[number * num_words : (number + 1) * num_words]) for number in range(count)]


def log_prob_difference(answers: Sequence[Answer], others: Sequence[Answer]) -> float:
    """Mean distance of the log-probabilities (natural) of the tokens that both have, up to the first that differs."""
    distances = []
    for answer, other in zip(answers, others, strict=True):
        num_equal = num_equal_tokens(answer, other)
        pairs = zip(answer.log_probs[:num_equal], other.log_probs[:num_equal], strict=True)
        distances += [abs(one - two) for one, two in pairs]
    return statistics.fmean(distances) if distances else 0.0


def _link(built: Path, directory: Path, workload: Workload, precision: str) -> Path:
    """With room for all that is asked here, so that nothing leaves the cache."""
    limits = read_manifest(built).limits
    most_tokens = 4 * max(STREAMS) * (2 * workload.context_words + workload.max_tokens)  # a word: two tokens at most
    kv_cache_tokens = max(limits.kv_cache_tokens, most_tokens)
    return link_engine(built, directory, limits={"kv_cache_tokens": kv_cache_tokens}, options={OPTION: precision})


def _bytes_per_token(side: EngineSide, others: list[str], texts: list[str]) -> float:
    """What the process holds more when the cache has taken in `texts`.

    The cache is allocated as a whole and held as it is filled. `others` go before, so that all else that such a batch
    needs is held already.
    """
    asyncio.run(side(others))
    before = held_mib()
    num_blocks = sum(max_blocks_of(request) for request in side.requests(texts))
    asyncio.run(side(texts))
    return (held_mib() - before) * _MIB / (num_blocks * KV_BLOCK_TOKENS)
