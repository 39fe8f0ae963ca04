"""Who asks, and what they may: what authentication finds out and everything after it reads.

It knows nothing of how a key or a token is checked (`keys.py`, `jwt.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from trident.errors import PermissionDeniedError

# What a scope opens. "admin" opens the operator's endpoints and nothing else.
Endpoint = Literal[
    "chat", "completions", "responses", "embeddings", "files", "batches", "tokenize", "kserve", "collections", "admin"
]  # fmt: skip
DEFAULT_TENANT = "default"


class Limits(BaseModel):
    """Of one key or one tenant; None: unlimited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1, description="prompt and completion together")
    concurrent_requests: int | None = Field(
        default=None, ge=1, description="streams and unary requests that run at once"
    )
    daily_budget: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="of a day in UTC, in the currency of the models' prices"
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant and the key behind a request. Stored objects belong to the tenant."""

    tenant: str
    key_id: str  # public part of the key, or the token's subject; never a secret
    models: frozenset[str] | None = None  # names that may be asked; None: all
    endpoints: frozenset[str] | None = None  # None: all but "admin"
    groups: frozenset[str] = frozenset()  # of the tenant, for routing rules
    key_limits: Limits = field(default_factory=Limits)
    tenant_limits: Limits = field(default_factory=Limits)
    priority: int | None = None  # on the engine, 1 first to 5; None: as the request says. Batches stand behind

    def check_model(self, model: str) -> None:
        """Raises PermissionDeniedError where the key may not ask this model."""
        if self.models is not None and model not in self.models:
            raise PermissionDeniedError(
                f"this key may not use the model '{model}'", param="model", code="model_not_allowed"
            )

    def check_endpoint(self, endpoint: Endpoint) -> None:
        """Raises PermissionDeniedError where the key may not use this part of the API."""
        is_open = endpoint != "admin" if self.endpoints is None else endpoint in self.endpoints
        if not is_open:
            raise PermissionDeniedError(f"this key may not use '{endpoint}'", code="endpoint_not_allowed")


# Where the configuration asks for no keys: everything but the operator's endpoints.
ANONYMOUS = Identity(DEFAULT_TENANT, "anonymous")
