"""What every engine adapter is to the engine model: a Protocol, a request, and where its tokens go.

Life of a request, and no other state (`State`):

    queued -> prefilling -> running -> finished    it ended by itself: "stop" (an EOS id) or "length"
                                    -> cancelled   `cancel` was called, or its deadline passed; from any state before
                                    -> failed      the engine broke; an error says why; from any state before

An adapter knows token ids only: nothing of text, of stop words or of Triton.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trident.errors import TridentError
from trident.text.guides import Guide


class State(str, Enum):
    """Where a sequence is in its life."""

    QUEUED = "queued"  # admitted, not with the engine yet
    PREFILLING = "prefilling"  # with the engine, no token yet
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Greedy when `temperature` is 0 or `top_k` is 1."""

    temperature: float = 0.0
    top_k: int = 0  # 0: all tokens
    top_p: float = 1.0
    seed: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    @property
    def is_greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0 or self.top_k == 1


@dataclass(frozen=True)
class EngineRequest:
    """One sequence to complete."""

    input_ids: npt.NDArray[np.int32]  # int32[prompt_tokens]
    max_tokens: int
    min_tokens: int = 0  # no EOS id before
    eos_ids: tuple[int, ...] = ()  # every id that ends it; empty: only max_tokens does
    sampling: Sampling = field(default_factory=Sampling)
    wants_log_probs: bool = False
    top_logprobs: int = 0  # most probable ids at each place
    beam_width: int = 1  # above 1: nothing comes before the end, then `Progress.beams`
    length_penalty: float = 1.0  # of beam search
    guide: Guide | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()
    logit_bias: npt.NDArray[np.float32] | None = None  # float32[vocab_size], added to the logits
    lora_name: str | None = None
    cache_salt: str | None = None  # prompts with different salts never share the prefix cache


@dataclass(frozen=True)
class Beam:
    """One hypothesis of a beam search."""

    token_ids: list[int]
    cum_log_prob: float  # sum of its ids' log-probabilities


@dataclass
class Progress:
    """What one engine step brought one sequence. Exactly one Progress of a sequence has an end."""

    sequence: Sequence
    token_ids: list[int]
    end: str | TridentError | None = None  # "stop", "length", "cancelled", or why it failed
    log_probs: list[float] | None = None  # natural, of each of token_ids, when asked for
    top: list[dict[int, float]] | None = None  # most probable ids -> log-probability, at each of token_ids
    beams: tuple[Beam, ...] = ()  # of a beam search, best first, with its end; token_ids is empty then
    num_cached_tokens: int | None = None  # of the prompt, found in the prefix cache; once, where the engine knows


class Sequence:
    """A submitted request's identity; the engine model subclasses it to keep what it needs beside it."""

    request: EngineRequest


@dataclass(frozen=True)
class EngineStats:
    """A look at the engine, as of its last step. None: this engine does not know."""

    num_queued: int  # submitted, not yet taken into the batch
    num_running: int
    kv_cache_fraction: float  # 0 to 1, blocks of running sequences; what is only kept for reuse does not count
    num_steps: int
    num_prefilling: int = 0  # of num_running, without a token yet
    num_paused: int = 0  # preempted: they wait until KV blocks are free again
    num_preparing: int = 0  # of num_queued: they wait for an adapter or a guide of their own, not for a place
    max_kv_blocks: int | None = None
    kv_block_tokens: int | None = None  # tokens in a block
    num_reused_blocks: int | None = None  # found in the prefix cache, since the start
    num_draft_tokens: int | None = None  # proposed by speculation, since the start
    num_accepted_draft_tokens: int | None = None  # of those; None also where nothing speculates


class Engine(Protocol):
    """An engine that batches in flight. `submit`, `cancel` and `stats` may be called from any thread."""

    is_simulated: bool  # no model behind it; answers and metrics say so

    def submit(self, sequence: Sequence) -> None:
        """Take `sequence.request` in; what comes of it arrives at `wait`."""

    def cancel(self, sequence: Sequence) -> None:
        """End a sequence early and free its slot within two steps; one that has ended is left alone."""

    def wait(self, timeout_s: float | None) -> list[Progress]:
        """What the next step brings, or nothing when the time is over; for one thread.

        Raises:
            EngineError: the engine is gone and nothing will come any more.
        """

    def stats(self) -> EngineStats:
        """Queue, batch and KV cache as of the last step."""

    def close(self) -> None:
        """Stop the engine and free its memory; `wait` raises from then on. Safe to call twice."""
