"""Whose failure an error of a deployment is, and what of it a client may read."""

from __future__ import annotations

import logging
import re

from trident.errors import (
    AuthenticationError,
    ConfigurationError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    TridentError,
    UnavailableError,
)

DEPLOYMENT_FAILURES = (UnavailableError, QueueFullError, EngineError)  # not the request's: another may do better
# What a deployment says that is wrongly set up: nothing that the client did, or can do anything about.
_MISCONFIGURED = (NotFoundError, AuthenticationError, PermissionDeniedError, ConfigurationError)
# Words of Triton's own: who knows a name of its shared memory can ask for more (CVE-2025-23320).
_INSIDE = re.compile(
    r"shared memory|\bshm|triton_python_backend|\bipv[46]:|\.(?:py|cc|so)\b|/(?:dev|home|mnt|opt|srv|tmp|usr|var)/",
    re.IGNORECASE,
)
_log = logging.getLogger(__name__)


def as_told(error: TridentError, deployment: str) -> TridentError:
    """For the client: the same error, or one that has it as its cause."""
    if isinstance(error, _MISCONFIGURED):
        told: TridentError = UnavailableError(f"deployment {deployment}: {error.message}")
    elif isinstance(error, InvalidRequestError) and _INSIDE.search(error.message) is not None:
        _log.warning("a server refused a request: %s", error.message)
        told = InvalidRequestError("the server behind this model does not take this request")
    else:
        return error
    told.__cause__ = error
    return told
