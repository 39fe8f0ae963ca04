"""The gateway's one file, typed: where it listens, what it stands before, who may ask, how it routes.

How it is read: `config_file.py`. The parts that a rewrite of the file changes while it runs are `tenants`,
`deployments`, `models` and `rules`. Long because it is one table after the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trident.errors import did_you_mean
from trident.gateway.identity import Limits
from trident.gateway.retrieval.settings import CollectionSettings
from trident.gateway.routing_rules import BreakerLimits, ModelRoute, Rule

_STRICT = ConfigDict(frozen=True, extra="forbid")

# Those with a public key: a shared secret would let the gateway, or who reads its file, make tokens.
SigningAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]


class Server(BaseModel):
    """Where the gateway listens and what it lets in."""

    model_config = _STRICT

    host: str = Field("127.0.0.1", description="address to bind")
    port: int = Field(8080, ge=0, le=65535, description="HTTP; 0: a free one")
    grpc_port: int | None = Field(None, ge=0, le=65535, description="KServe v2 over gRPC; not served when unset")
    workers: int = Field(1, ge=1, le=64, description="processes that answer HTTP")
    tls_cert: Path | None = Field(None, description="PEM file of the certificate, with tls_key")
    tls_key: Path | None = Field(None, description="PEM file of its private key")
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call the gateway")
    max_body_bytes: int = Field(1 << 20, ge=1024, description="of a request's body")
    max_file_bytes: int = Field(100 << 20, ge=1024, description="of a file that is uploaded")
    max_json_depth: int = Field(64, ge=4, le=512, description="nesting of a body")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed"
    )
    body_timeout_s: float = Field(30.0, gt=0, description="until a request's headers and body are complete")
    idle_timeout_s: float = Field(20.0, gt=0, description="of a connection between two requests")
    stream_idle_s: float = Field(300.0, gt=0, description="of a gRPC stream or connection on which nothing is asked")
    write_timeout_s: float = Field(60.0, gt=0, description="for a client that does not read its stream")
    request_timeout_s: float = Field(600.0, gt=0, description="longest time a request may take")
    max_connections: int = Field(8192, ge=1, description="open at once, in each worker")
    heartbeat_s: float = Field(15.0, gt=0, description="between comments in a stream that has nothing to say")
    drain_s: float = Field(60.0, ge=0, description="how long running requests may take when the gateway stops")
    lameduck_s: float = Field(0.0, ge=0, description="not ready but serving, before a stop begins")
    data: Path = Field(Path("gateway"), description="folder of the database, files and stored answers")
    database: str | None = Field(None, description="SQLAlchemy URL; sqlite in `data` when unset")
    redis: str | None = Field(None, description="redis:// URL; limits are shared by several gateways through it")
    pepper_file: Path | None = Field(None, description="secret that keys are hashed with; made in `data` when unset")
    json_logs: bool = Field(True, description="a JSON object a line; plain text otherwise")
    pages: bool = Field(True, description="the chat at / and the operator's page at /operator")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Server:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self


class Jwt(BaseModel):
    """Tokens of an identity provider, accepted beside the gateway's own keys."""

    model_config = _STRICT

    issuer: str
    audience: str
    jwks_file: Path | None = Field(None, description="the provider's public keys, as a file")
    jwks_url: str | None = Field(None, description="or their https address, read again when a key is unknown")
    algorithms: tuple[SigningAlgorithm, ...] = Field(("RS256", "ES256", "EdDSA"), min_length=1)
    tenant_claim: str = "tenant"
    scope_claim: str = Field("scope", description="of endpoints, separated by spaces, as `Endpoint` names them")
    models_claim: str = "models"
    leeway_s: int = Field(30, ge=0, le=300, description="by which the clocks may differ")

    @model_validator(mode="after")
    def _has_keys(self) -> Jwt:
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError("give one of jwks_file and jwks_url")
        if self.jwks_url is not None and not self.jwks_url.startswith("https://"):
            raise ValueError("jwks_url must begin with https://")
        return self


class Auth(BaseModel):
    """Whether a key is asked for; without one everybody is the tenant "default"."""

    model_config = _STRICT

    required: bool = True
    jwt: Jwt | None = None
    max_failures_per_minute: int = Field(10, ge=1, description="of an address; then it has to wait")


class Storage(BaseModel):
    """What clients leave with the gateway, for how long, and how batches run."""

    model_config = _STRICT

    response_days: float = Field(30, gt=0, description="that a stored response is kept")
    file_days: float = Field(30, gt=0, description="that a file is kept, and a batch after its end")
    max_tenant_bytes: int = Field(
        10 << 30, ge=1, description="of all files of a tenant; answers of batches come on top"
    )
    max_tenant_files: int = Field(10_000, ge=1, description="that a tenant keeps; likewise")
    max_tenant_responses: int = Field(200_000, ge=1, description="that a tenant keeps")
    max_tenant_response_bytes: int = Field(10 << 30, ge=1, description="of all of them, their inputs included")
    max_tenant_batches: int = Field(50, ge=1, description="of a tenant that have not ended")
    batch_concurrency: int = Field(8, ge=1, le=1024, description="lines of batches that run at once, in each worker")
    max_batches: int = Field(4, ge=1, le=64, description="batches that run at once, in each worker; others wait")
    batch_lease_s: float = Field(
        10.0, gt=0, description="silence after which another worker goes on with a batch whose own has died"
    )


class SemanticSettings(BaseModel):
    """Answers to the same question in other words."""

    model_config = _STRICT

    enabled: bool = False
    model: str = Field("", description="of [models], with operation embeddings: it embeds the questions")
    threshold: float = Field(
        0.80, ge=0, le=1, description="least cosine of two questions; a model's `semantic_threshold` goes before"
    )
    verify_fraction: float = Field(
        0.02, ge=0, le=1, description="of the hits that are asked of the engine too, to compare the answers"
    )
    store: Literal["memory", "postgres"] = Field(
        "memory", description="of the questions: each worker's own, or `server.database` with pgvector for all"
    )
    max_entries: int = Field(20_000, ge=1, description="questions that are kept, in each worker or in the database")
    timeout_s: float = Field(0.1, gt=0, le=10, description="for embedding and looking; then it is a miss")


class CacheSettings(BaseModel):
    """Answers that are given again without asking an engine."""

    model_config = _STRICT

    enabled: bool = False
    max_bytes: int = Field(256 << 20, ge=1 << 16, description="of all answers, in each worker")
    max_entry_bytes: int = Field(1 << 20, ge=1 << 10, description="of one answer; a larger one is not kept")
    ttl_s: float = Field(3600.0, gt=0, description="that an answer is kept")
    sampled: bool = Field(False, description="also of requests that draw their tokens at random")
    semantic: SemanticSettings = Field(SemanticSettings(), description="for the same question in other words")


class LedgerSettings(BaseModel):
    """What is written of every request, and for how long."""

    model_config = _STRICT

    content: Literal["never", "redacted", "full"] = Field(
        "never", description="whether prompts and answers are kept; redacted: without personal data and secrets"
    )
    days: float = Field(400, gt=0, description="that a request's row is kept")
    content_days: float = Field(30, gt=0, description="that its prompt and answer are kept")
    spool_bytes: int = Field(256 << 20, ge=1 << 16, description="on disk while the database is away")


class Tenant(BaseModel):
    """A team: what its keys share."""

    model_config = _STRICT

    groups: frozenset[str] = frozenset()
    limits: Limits = Limits()


class Deployment(BaseModel):
    """One Triton server, and the ensemble on it that is asked."""

    model_config = _STRICT

    url: str = Field(description="host:port of its gRPC endpoint; grpcs:// for TLS")
    ensemble: str = "ensemble"
    engine_model: str | None = Field(None, description="where cancels go; by default the ensemble's configuration says")
    version: str = Field("", description="what runs there, for reports")
    metrics_url: str | None = Field(None, description="by default port 8002 of the host")
    api_key_file: Path | None = None
    max_concurrent: int | None = Field(None, ge=1, description="requests at once; more go elsewhere")
    max_model_len: int | None = Field(None, ge=2, description="tokens of prompt and completion; told by /tokenize")
    isolate_tenants: bool = Field(
        False, description="each tenant has its own part of the prefix cache; the engine must take `cache_salt`"
    )
    price_per_s: float | None = Field(None, ge=0, description="of the machine, in the currency of the prices")
    breaker: BreakerLimits = Field(BreakerLimits(), description="when it is left alone because it fails")

    def address(self) -> tuple[str | None, ...]:
        """What makes it another server, or another model of it, when it changes."""
        return (self.url, self.ensemble, self.engine_model, self.metrics_url)


class GatewayConfig(BaseModel):
    """The whole file."""

    model_config = _STRICT

    server: Server = Server()
    auth: Auth = Auth()
    cache: CacheSettings = CacheSettings()
    collections: CollectionSettings = CollectionSettings()
    ledger: LedgerSettings = LedgerSettings()
    storage: Storage = Storage()
    limits: Limits = Field(Limits(), description="of a key and of a tenant that have none of their own")
    tenants: dict[str, Tenant] = Field(default_factory=dict)
    deployments: dict[str, Deployment] = Field(min_length=1)
    models: dict[str, ModelRoute] = Field(min_length=1)
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> GatewayConfig:
        for name, model in self.models.items():
            for deployment in model.deployment_names():
                if deployment not in self.deployments:
                    hint = did_you_mean(deployment, self.deployments)
                    raise ValueError(f"models.{name}: there is no deployment '{deployment}'{hint}")
        names = [name for model_name, model in self.models.items() for name in (model_name, *model.aliases)]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"models: '{twice}' is the name or alias of two models")
        rule_names = [rule.name for rule in self.rules]
        for number, rule in enumerate(self.rules):
            if rule.name in rule_names[:number]:
                raise ValueError(f"rules[{number}]: there is another rule '{rule.name}' before it")
            for model_name in rule.model_names():
                if model_name not in self.models:
                    raise ValueError(
                        f"rules[{number}]: there is no model '{model_name}'{did_you_mean(model_name, self.models)}"
                    )
        return self

    @model_validator(mode="after")
    def _questions_can_be_embedded(self) -> GatewayConfig:
        semantic = self.cache.semantic
        if not semantic.enabled:
            return self
        if not self.cache.enabled:
            raise ValueError("cache.semantic: it needs the cache itself; set enabled = true in [cache]")
        route = self.models.get(semantic.model)
        if route is None or route.operation != "embeddings":
            raise ValueError(f"cache.semantic.model: '{semantic.model}' is no model with operation = 'embeddings'")
        if semantic.store == "postgres" and not (self.server.database or "").startswith("postgresql"):
            raise ValueError("cache.semantic.store: 'postgres' needs a postgresql URL as server.database")
        return self

    @model_validator(mode="after")
    def _documents_can_be_embedded(self) -> GatewayConfig:
        name = self.collections.model
        route = self.models.get(name)
        if name and (route is None or route.operation != "embeddings"):
            raise ValueError(f"collections.model: '{name}' is no model with operation = 'embeddings'")
        for model_name, model in self.models.items():
            if model.retrieval is not None and not name:
                raise ValueError(f"models.{model_name}.retrieval: it needs an embedding model; set collections.model")
        return self

    @model_validator(mode="after")
    def _workers_share_limits(self) -> GatewayConfig:
        limits = (self.limits, *(tenant.limits for tenant in self.tenants.values()))
        has_limits = self.auth.required or any(each != Limits() for each in limits)
        if self.server.workers > 1 and self.server.redis is None and has_limits:
            raise ValueError("server.workers: several workers share limits through redis alone; set server.redis, or 1")
        return self
