"""What a client asks for and what came of it, whatever API it came by: the arrows between the gateway's parts.

HTTP or gRPC -> Asked -> Router -> Decision -> Exchange -> deltas to the client, Outcome to every observer
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from trident.errors import TridentError
from trident.gateway.identity import Identity
from trident_client.completion import Completion
from trident_client.request import Prompt
from trident_client.sampling import Sampling

# OpenTelemetry's gen_ai.operation.name
Operation = Literal["chat", "text_completion", "embeddings"]


# "no-cache": answered anew, and kept; "no-store": neither; "sampled": also a cached one of those drawn at random
CacheWish = Literal["default", "no-cache", "no-store", "sampled"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One generation. `request_id` is a UUID of the gateway's own: the id on Triton, in logs and in `x-request-id`."""

    request_id: str
    identity: Identity
    operation: Operation
    api: str  # the endpoint it came by: "chat", "completions", "responses", "generate", "kserve-grpc", ...
    model: str  # as the client calls it
    prompt: Prompt
    sampling: Sampling
    is_streaming: bool = False
    user: str = ""  # end user and conversation, where the client tells; for sticky assignment
    conversation: str = ""
    cache: CacheWish = "default"
    cache_tags: frozenset[str] = frozenset()  # by which the answer can be forgotten
    retrieval: str = ""  # the passages of documents in the prompt: which, of which version of a collection


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request goes, and why: what `trident route explain` prints."""

    model: str  # the route that was taken, which a rule may have chosen
    candidates: tuple[str, ...]  # deployments, in the order in which they are asked until one begins to answer
    reasons: tuple[str, ...]  # one line each, in the order in which they applied
    shadow: str | None = None  # deployment that gets a copy
    escalation: Decision | None = None  # taken when none of the candidates can begin to answer


@dataclass(slots=True)
class Outcome:
    """What became of a request. Complete when observers get it."""

    asked: Asked
    decision: Decision | None = None
    deployment: str = ""  # that answered, or was asked last; empty: none was, or a cache answered
    completion: Completion | None = None  # as far as it came
    error: TridentError | None = None  # None: it ended, or the client left
    is_cancelled: bool = False  # the client left
    started_at: float = 0.0  # seconds since 1970
    ttft_s: float | None = None  # until the first delta
    duration_s: float = 0.0
    failures: dict[str, TridentError] = field(default_factory=dict)  # by deployment that was asked in vain, in order
    num_input_tokens: int = 0
    num_output_tokens: int = 0
    num_cached_tokens: int = 0
    cost: float = 0.0  # at the route's prices
    engine_s: float = 0.0  # its share of the time of the deployments that were asked
    cache: str = ""  # "exact", "shared" or "semantic" where a cache answered
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The route that was taken; before one was, as the client calls it."""
        return self.asked.model if self.decision is None else self.decision.model

    @property
    def num_retries(self) -> int:
        """Deployments that could not answer before the last one was asked."""
        return len(self.failures) - (self.deployment in self.failures)


class Observer(Protocol):
    """Who is told of every request that is let in: metrics, the log, statistics, the ledger. Must not raise or block.

    Of one that is refused before (no such model, not allowed, over its limits) nobody is told.
    """

    def began(self, asked: Asked) -> None:
        """It was let in; `ended` will be called once."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """It is over, however it ended."""
        ...
