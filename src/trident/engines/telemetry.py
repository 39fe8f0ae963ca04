"""What the engine model counts and measures, gathered in plain Python until somebody takes it away.

It knows nothing of Triton or of metric names, and never waits for anybody: one of its calls costs a microsecond or
two, where Triton's own cost 15 to 85 each (2.51: a round trip to the server's process).
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from trident.errors import (
    ContentBlockedError,
    InvalidRequestError,
    PromptTooLongError,
    QueueFullError,
    TridentError,
    UnavailableError,
    UnsupportedParameterError,
)

MAX_OBSERVATIONS = 50  # of one measure between two takes; of more an even draw is kept
NO_LORA = "none"

REJECTIONS: dict[type[TridentError], str] = {
    QueueFullError: "queue_full",
    UnsupportedParameterError: "unsupported",
    PromptTooLongError: "too_long",
    ContentBlockedError: "blocked",
    InvalidRequestError: "invalid",
    UnavailableError: "unavailable",
    TridentError: "internal",
}


class Measure(Enum):
    """What there is a distribution of."""

    NUM_INPUT_TOKENS = auto()
    NUM_OUTPUT_TOKENS = auto()
    QUEUE_S = auto()
    FIRST_TOKEN_S = auto()
    INTER_TOKEN_S = auto()
    OUTPUT_TOKEN_S = auto()
    REQUEST_S = auto()


@dataclass(frozen=True)
class RequestRecord:
    """How one sequence went. A request of several rows or `num_return_sequences` has one for each, as upstream."""

    finish_reason: str  # stop, length, cancelled, timeout, error
    num_input_tokens: int
    num_output_tokens: int
    num_cached_tokens: int | None  # of the prompt; None: the engine does not know
    queue_s: float  # from arrival until the engine had it, or until the end when it never did
    first_token_s: float | None  # from arrival; None: no token came, or only with the end (beam search)
    total_s: float  # from arrival to the last response
    priority: int
    lora_name: str | None


class Draw:
    """At most MAX_OBSERVATIONS of all values added, each kept with the same chance (Vitter's algorithm R)."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.num_added = 0

    @property
    def num_dropped(self) -> int:
        """Values added and not kept."""
        return self.num_added - len(self.values)

    def add(self, value: float, uniform: Callable[[], float]) -> None:
        """`uniform`: numbers in [0, 1)."""
        self.num_added += 1
        if len(self.values) < MAX_OBSERVATIONS:
            self.values.append(value)
        elif (place := int(uniform() * self.num_added)) < MAX_OBSERVATIONS:
            self.values[place] = value


@dataclass
class Snapshot:
    """What gathered between two takes."""

    requests: Counter[tuple[str, int, str]] = field(default_factory=Counter)  # (finish reason, priority, LoRA)
    prompt_tokens: Counter[str] = field(default_factory=Counter)  # by LoRA, as the next
    generated_tokens: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)  # by a value of REJECTIONS
    num_cached_tokens: int | None = None  # None: the engine never said
    num_responses: int = 0
    num_coalesced_tokens: int = 0  # that left in a response with others
    drawn: dict[Measure, Draw] = field(default_factory=lambda: {measure: Draw() for measure in Measure})


def rejection_of(error: TridentError) -> str:
    """Why a request was refused: the word of REJECTIONS for the error's class or its nearest ancestor."""
    return next(REJECTIONS[cls] for cls in type(error).__mro__ if cls in REJECTIONS)


class Telemetry:
    """May be called from any thread; memory is bounded, whether or not anybody takes."""

    def __init__(self, lora_names: Iterable[str] = (), uniform: Callable[[], float] = random.random) -> None:
        """`lora_names`: adapters that the engine has; any other is counted as none, so that labels stay few."""
        self._lora_names = frozenset(lora_names)
        self._uniform = uniform
        self._lock = threading.Lock()
        self._gathered = Snapshot()

    def know(self, lora_names: Iterable[str]) -> None:
        """Adapters of another engine, which the same telemetry is to count."""
        self._lora_names |= frozenset(lora_names)

    def rejected(self, error: TridentError) -> None:
        """A request was refused and never admitted."""
        with self._lock:
            self._gathered.rejected[rejection_of(error)] += 1

    def response(self, num_tokens: int, gap_s: float | None) -> None:
        """A response left.

        Args:
            num_tokens: new ones in it; 0 for the whole answer of a request without `stream`, which nobody merged.
            gap_s: since the response before it of the same sequence; None for the first.
        """
        with self._lock:
            self._gathered.num_responses += 1
            if num_tokens > 1:
                self._gathered.num_coalesced_tokens += num_tokens
            if num_tokens and gap_s is not None:
                self._gathered.drawn[Measure.INTER_TOKEN_S].add(gap_s / num_tokens, self._uniform)

    def request_ended(self, record: RequestRecord) -> None:
        """An admitted sequence has ended, one way or another."""
        lora = record.lora_name if record.lora_name in self._lora_names else None
        label = lora or NO_LORA
        with self._lock:
            gathered = self._gathered
            gathered.requests[record.finish_reason, record.priority, label] += 1
            gathered.prompt_tokens[label] += record.num_input_tokens
            gathered.generated_tokens[label] += record.num_output_tokens
            if record.num_cached_tokens is not None:
                gathered.num_cached_tokens = (gathered.num_cached_tokens or 0) + record.num_cached_tokens
            for measure, value in _measures(record):
                gathered.drawn[measure].add(value, self._uniform)

    def take(self) -> Snapshot:
        """What has gathered since the last take."""
        with self._lock:
            taken, self._gathered = self._gathered, Snapshot()
        return taken


def _measures(record: RequestRecord) -> list[tuple[Measure, float]]:
    """How long a sequence took says something only when it ended by itself; its waiting always does."""
    measures = [(Measure.QUEUE_S, record.queue_s)]
    first_token_s = record.first_token_s
    if first_token_s is not None:
        measures.append((Measure.FIRST_TOKEN_S, first_token_s))
    if record.finish_reason not in {"stop", "length"}:
        return measures
    measures += [
        (Measure.REQUEST_S, record.total_s),
        (Measure.NUM_INPUT_TOKENS, record.num_input_tokens),
        (Measure.NUM_OUTPUT_TOKENS, record.num_output_tokens),
    ]
    if first_token_s is not None and record.num_output_tokens > 1:
        pause_s = (record.total_s - first_token_s) / (record.num_output_tokens - 1)
        measures.append((Measure.OUTPUT_TOKEN_S, pause_s))
    return measures
