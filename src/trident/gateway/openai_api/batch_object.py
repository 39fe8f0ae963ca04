"""A batch's row as clients see it, and the identity that is kept in it. Pure functions."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import Row

from trident.gateway.identity import Identity, Limits

Json = dict[str, Any]
ACTIVE = ("validating", "in_progress", "finalizing", "cancelling")
_TIMES = (
    "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at",
)  # fmt: skip


def new_batch_id() -> str:
    """Nobody can guess it."""
    return f"batch_{uuid4().hex}"


def identity_of_batch(row: Row[Any], priority: int) -> Identity:
    """In whose name its lines are asked, behind who waits for an answer."""
    kept = row.identity
    return Identity(
        row.tenant,
        kept["key_id"],
        models=None if kept["models"] is None else frozenset(kept["models"]),
        endpoints=None if kept["endpoints"] is None else frozenset(kept["endpoints"]),
        groups=frozenset(kept["groups"]),
        key_limits=Limits.model_validate(kept["key_limits"]),
        tenant_limits=Limits.model_validate(kept["tenant_limits"]),
        priority=priority,
    )


def batch_object(row: Row[Any]) -> Json:
    """As the API shows it."""
    has_ended = row.status not in ACTIVE
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "errors": {"object": "list", "data": row.errors} if row.errors else None,
        "input_file_id": row.input_file_id,
        "completion_window": "24h",
        "status": row.status,
        "output_file_id": row.output_file_id if has_ended else None,
        "error_file_id": row.error_file_id if has_ended else None,
        "created_at": int(row.created_at),
        "expires_at": int(row.expires_at),
        **{name: row.times.get(name) for name in _TIMES},
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "metadata": row._mapping["metadata"] or None,
    }


def identity_json(identity: Identity) -> Json:
    """What `identity_of_batch` reads."""
    return {
        "key_id": identity.key_id,
        "models": None if identity.models is None else sorted(identity.models),
        "endpoints": None if identity.endpoints is None else sorted(identity.endpoints),
        "groups": sorted(identity.groups),
        "key_limits": identity.key_limits.model_dump(),
        "tenant_limits": identity.tenant_limits.model_dump(),
    }
