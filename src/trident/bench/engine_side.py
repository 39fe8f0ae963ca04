"""An engine by itself as one side of a comparison: asked directly, greedy; no Triton and no client between."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trident.admission import check_max_tokens, check_prompt
from trident.bench.peers import Side, compare
from trident.bench.workload import Figures, Run
from trident.engines.base import Engine, EngineRequest
from trident.errors import EngineError
from trident.evaluate.speed import Answer, complete
from trident.manifest import read_manifest
from trident.text.tokenizer import read_tokenizer

Say = Callable[[str], None]
_PAUSE_S = 0.05  # OpenVINO's threads (TBB) look for more work for some milliseconds


@dataclass(frozen=True)
class Workload:
    """What is asked."""

    prompt_words: int  # of each prompt, about as many tokens
    context_words: int  # of each prompt that has to be long
    max_tokens: int  # of each completion

    def request(self, **more: Any) -> EngineRequest:
        """Greedy, without a prompt yet; EOS is ignored unless `more` says otherwise."""
        return EngineRequest(np.empty(0, np.int32), self.max_tokens, **more)


class EngineSide:
    """See `peers.Side`; what it has answered is kept."""

    def __init__(
        self, directory: Path, engine: Engine, request: EngineRequest, *, is_chat: bool = False, at_once: bool = True
    ) -> None:
        """Without an engine process of its own.

        Args:
            directory: of the engine.
            engine: loaded.
            request: how it is asked, with any `input_ids`.
            is_chat: texts are a user's messages, and not prompts as they are.
            at_once: or one after the other.
        """
        self.answers: list[Answer] = []  # of all runs, in order
        self._engine = engine
        self._request = request
        self._is_chat = is_chat
        self._at_once = at_once
        self._tokenizer = read_tokenizer(directory)
        self._limits = read_manifest(directory).limits

    async def __call__(self, texts: Sequence[str]) -> Run:
        """Complete all texts.

        Raises:
            TridentError: they are beyond the engine's limits, or it failed.
        """
        requests = self.requests(texts)
        wall_s, answers = 0.0, []
        for group in [requests] if self._at_once else [[request] for request in requests]:
            start = time.perf_counter()
            answers += complete(self._engine, group)
            wall_s += time.perf_counter() - start
        self.answers += answers
        num_tokens = sum(len(answer.token_ids) for answer in answers)
        return Run(wall_s, num_tokens, [answer.arrivals_s for answer in answers], [0.0] * len(answers))

    def requests(self, texts: Sequence[str]) -> list[EngineRequest]:
        """As this side asks them.

        Raises:
            InvalidRequestError, PromptTooLongError: they are beyond the engine's limits.
        """
        max_tokens = self._request.max_tokens
        check_max_tokens(max_tokens, self._limits)
        prompts = list(texts)
        if self._is_chat:
            template = self._tokenizer.chat_template
            prompts = [template.render([{"role": "user", "content": text}]) for text in prompts]
        found = []
        for ids in self._tokenizer.encode_prompts(prompts, add_special_tokens=not self._is_chat):
            check_prompt(len(ids), max_tokens, self._limits)
            found.append(dataclasses.replace(self._request, input_ids=np.array(ids, np.int32)))
        return found


async def in_turn(
    sides: Mapping[str, Side],
    texts: Callable[[int, int], list[str]],
    concurrencies: Sequence[int],
    repeats: int,
    say: Say,
) -> Mapping[str, Mapping[int, Figures]]:
    """`peers.compare` of sides that all have to answer: medians by side and number of streams.

    Raises:
        EngineError: one of them failed.
    """
    failed: dict[str, str] = {}
    found = await compare(sides, texts, concurrencies, repeats, failed, say, _PAUSE_S)
    for name, reason in failed.items():
        raise EngineError(f"{name}: {reason}")
    return found.sides


def side_by_side(sides: Mapping[str, Mapping[int, Figures]]) -> dict[str, dict[str, float]]:
    """Of two sides, at each number of streams (`c1`, ...): tokens/s and TTFT of each; `ratio` is the second's tokens/s
    over the first's.
    """
    (first, base), (second, other) = sides.items()
    return {
        f"c{number}": {
            f"{first}_tokens_per_s": base[number].tokens_per_s,
            f"{second}_tokens_per_s": other[number].tokens_per_s,
            "ratio": other[number].tokens_per_s / base[number].tokens_per_s,
            f"{first}_ttft_p50_ms": base[number].ttft_p50_ms,
            f"{second}_ttft_p50_ms": other[number].ttft_p50_ms,
        }
        for number in base
    }


def equal_fraction(answers: Sequence[Answer], others: Sequence[Answer]) -> float:
    """Share of the tokens of `answers` that come before the first one that is another in `others`."""
    num_equal = sum(num_equal_tokens(*pair) for pair in zip(answers, others, strict=True))
    return num_equal / sum(len(answer.token_ids) for answer in answers)


def num_equal_tokens(answer: Answer, other: Answer) -> int:
    """Tokens before the first one that is another."""
    pairs = enumerate(zip(answer.token_ids, other.token_ids, strict=False))
    shorter = min(len(answer.token_ids), len(other.token_ids))
    return next((number for number, (one, two) in pairs if one != two), shorter)
