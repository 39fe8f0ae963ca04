"""The answer of `GET /admin/overview`, as the API's document has it. Times that end in `_at`: seconds since 1970.

Never a secret: of a key its public part, of a deployment its host and port.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trident.gateway.identity import Limits
from trident.gateway.routing_rules import Policy
from trident.gateway.sticky import Sticky

Role = Literal["weighted", "fallback", "shadow"]
LimitKind = Literal["requests", "tokens", "concurrent", "budget"]


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerFigures(_Figures):
    """The process that answered. With several workers each has figures of its own."""

    pid: int
    workers: int = Field(description="that the file asks for; the figures are of one of them")
    started_at: float
    version: str


class LatencyFigures(_Figures):
    """Of answers that came to their end; null: there was none."""

    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    duration_ms_p50: float | None
    duration_ms_p95: float | None


class TrafficFigures(_Figures):
    """Generations and embeddings that were let in: running now, and ended since the worker started."""

    running: int
    requests: int = Field(description="that ended, however")
    errors: int
    cancelled: int = Field(description="their client left")
    cache_hits: int
    input_tokens: int
    cached_tokens: int = Field(description="of the input, found in an engine's prefix cache")
    output_tokens: int = Field(description="counted when a request ends")
    last_minute: LatencyFigures
    since_start: LatencyFigures = Field(description="of a uniform sample")


class EngineFigures(_Figures):
    """What an engine says of itself, of whomever its requests are."""

    name: str = Field(description="empty: it does not say")
    model: str | None = Field(description="of this engine model alone; null: of all on the server")
    running: float = Field(description="sequences in the batch")
    waiting: float = Field(description="sequences that wait for a place in it")
    places: float | None = Field(description="sequences that can run at once")
    kv_used: float | None = Field(description="share of the KV cache, 0 to 1")
    kv_blocks: float | None = Field(description="blocks that it has")


class DeploymentFigures(_Figures):
    """One deployment. `running`: requests of this worker."""

    name: str
    address: str = Field(description="host and port")
    version: str
    ready: bool | None = Field(description="whether it can take requests; null: not known")
    breaker: Literal["closed", "open", "half_open"]
    obstacle: str | None = Field(description="why the next request would not be sent there")
    running: int
    max_concurrent: int | None
    engine: EngineFigures | None = Field(description="null: its metrics do not answer, or do not tell")


class RouteDeployment(_Figures):
    """A deployment of a model, and what came of it since the worker started."""

    deployment: str
    role: Role
    weight: float | None
    share: float | None = Field(description="of the weights, 0 to 1")
    requests: int
    errors: int = Field(description="the deployment's own")


class RouteFigures(_Figures):
    """A model: the name that clients ask for."""

    model: str
    aliases: list[str]
    operation: Literal["generate", "embeddings"]
    policy: Policy
    sticky: Sticky
    shadow_fraction: float | None
    rules: list[str] = Field(description="that lead from or to it, by their names")
    deployments: list[RouteDeployment]


class Rate(_Figures):
    """A share with its 95 % interval (Wilson)."""

    value: float
    low: float | None
    high: float | None


class SemanticFigures(_Figures):
    """The cache of questions in other words."""

    vectors: int | None = Field(description="questions that are kept; null: not known now")
    hits: int
    refused: int = Field(description="near enough, and held back by the second gate")
    failures: int
    verified: int = Field(description="hits that were asked of the engine too")
    false: int = Field(description="of those, whose answers differed")
    false_rate: Rate | None = Field(description="an estimate; null: none was verified")


class CacheFigures(_Figures):
    """Answers in memory, and how requests fared since the worker started."""

    answers: int
    bytes: int
    max_bytes: int
    exact: int
    shared: int
    semantic: int
    misses: int
    semantic_cache: SemanticFigures | None


class KeyFigures(_Figures):
    """A key without its secret."""

    prefix: str
    name: str
    tenant: str
    state: str = Field(description="active, expired or revoked")
    models: list[str] | None = Field(description="null: all")
    endpoints: list[str] | None = Field(description="its scopes; null: all but admin")
    limits: Limits | None = Field(description="null: the file's")
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None = Field(description="as the ledger has it; null: not as far back as that goes")


class KeysFigures(_Figures):
    """The newest keys."""

    total: int = Field(description="of all keys")
    keys: list[KeyFigures]


class LimitFigures(_Figures):
    """A limit of which something is taken now."""

    tenant: str
    key: str | None = Field(description="public part; null: the tenant's own limit")
    kind: LimitKind
    limit: float
    used: float = Field(description="in the last minute, at once, or of today's budget (UTC)")


class LedgerFigures(_Figures):
    """Rows of requests on their way to the database."""

    lost: int = Field(description="that neither the disk nor the memory could hold")


class Overview(_Figures):
    """Everything at one moment. Parts that need the database are null while it is away."""

    at: float
    worker: WorkerFigures
    ready: bool
    reason: str = Field(description="why it is not ready; empty: it is")
    traffic: TrafficFigures
    deployments: list[DeploymentFigures]
    models: list[RouteFigures]
    cache: CacheFigures | None = Field(description="null: it is off")
    keys: KeysFigures | None
    limits: list[LimitFigures] | None = Field(description="the fullest first")
    ledger: LedgerFigures
