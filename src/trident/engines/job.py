"""One live request: its sequences, where its answers go, how long it may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trident.engines.completion import Chunk, Completion
from trident.engines.telemetry import RequestRecord
from trident.errors import TridentError


class Reply(Protocol):
    """Where the responses of one request go."""

    ask_interval_s: float  # how often it is asked whether it still listens

    def send(self, chunk: Chunk, is_final: bool) -> None:
        """Send one response; `is_final` marks the last of the request.

        Raises:
            EngineError: it could not be sent.
        """

    def fail(self, error: TridentError) -> None:
        """End the request with an error; never raises."""

    def is_cancelled(self) -> bool:
        """Whether the asker is gone."""


class Job:
    """A request of one or more sequences."""

    def __init__(self, request_id: str, completions: Sequence[Completion], reply: Reply, deadline: float) -> None:
        self.request_id = request_id
        self.completions = completions
        self.reply = reply
        self.deadline = deadline  # of the dispatcher's clock; infinity: none
        self.open = dict.fromkeys(completions)  # those whose last response was not taken yet, in order
        self.is_busy = False  # a thread uses its reply; Triton takes one call for a request at a time
        self.error: TridentError | None = None  # it ended with this, sent or about to be
        self.is_cancelled = False
        self._next_asked = completions[0].arrival + reply.ask_interval_s

    def is_asked_due(self, now: float) -> bool:
        """Whether the asker should be asked now; one question costs Triton 60 microseconds."""
        if self.is_cancelled or now < self._next_asked:
            return False
        self._next_asked = now + self.reply.ask_interval_s
        return True

    def record(self, completion: Completion, finish_reason: str, now: float) -> RequestRecord:
        """What telemetry keeps of one of its sequences."""
        arrival, scheduled, first = completion.arrival, completion.first_scheduled, completion.first_token
        return RequestRecord(
            finish_reason=finish_reason,
            num_input_tokens=len(completion.request.input_ids),
            num_output_tokens=completion.num_output_tokens,
            num_cached_tokens=completion.num_cached_tokens,
            queue_s=(now if scheduled is None else scheduled) - arrival,
            first_token_s=None if first is None else first - arrival,
            total_s=now - arrival,
            priority=completion.generation.priority,
            lora_name=completion.request.lora_name,
        )
