"""One error tree and one table of what each leaf is called elsewhere.

    TridentError
    |-- InvalidRequestError        the request is wrong; sending it again will not help
    |   |-- UnsupportedParameterError  this engine cannot do what was asked
    |   |-- PromptTooLongError         prompt or completion beyond the engine's limits
    |   |-- ContentBlockedError        a check of the deployment's policy refuses this text
    |   `-- RequestTooLargeError       a body or a file beyond the gateway's bounds
    |-- AuthenticationError        the gateway does not know this key
    |-- PermissionDeniedError      it does, but the key may not do this
    |-- RateLimitError             more than the key or its tenant may ask in this time
    |-- QuotaError                 the day's budget is spent
    |-- NotFoundError              no such model, engine or request
    |-- QueueFullError             try again later, here or elsewhere
    |-- UnavailableError           the server is not there, not ready, or went away
    |-- RequestCancelledError      somebody asked for the end
    |-- DeadlineExceededError      the request's own time ran out
    |-- EngineError                the engine failed; our fault
    `-- ConfigurationError         the operator's files, flags or machine; exit status 2
        |-- SettingsError              TRIDENT_* variables and options
        |-- ManifestError              an engine directory
        |-- RecipeError                a build recipe
        |-- RepositoryError            a model repository
        `-- HostError                  the machine: Python, ports, disk

A message is one line: what was wrong, with which value, and what to do next. It never holds a
path of the server's machine when it can reach a client.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


class TridentError(Exception):
    """Root of every error that Trident raises on purpose.

    `param`: what in the request is wrong, as a path (`messages[0].role`); `code`: a finer one than the leaf's own in
    OpenAI's error object.
    """

    def __init__(self, message: str = "", *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code

    @property
    def message(self) -> str:
        """The one-line text, line breaks folded."""
        return " ".join(str(self).split())


class InvalidRequestError(TridentError):
    """The request is wrong; sending it again will not help."""


class UnsupportedParameterError(InvalidRequestError):
    """The engine behind this deployment cannot do what the parameter asks."""


class PromptTooLongError(InvalidRequestError):
    """The prompt, or prompt and completion together, exceed the engine's limits."""


class ContentBlockedError(InvalidRequestError):
    """A check of the deployment's policy refuses this text."""

    def __init__(self, message: str, check: str = "") -> None:
        super().__init__(message)
        self.check = check  # its name, for a metric's label


class RequestTooLargeError(InvalidRequestError):
    """A body or a file beyond the gateway's bounds."""


class AuthenticationError(TridentError):
    """No key, or one that is not known, has expired or was revoked."""


class PermissionDeniedError(TridentError):
    """The key is known and may not do this."""


class RateLimitError(TridentError):
    """More than the key or its tenant may ask in this time."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        kind: Literal["requests", "tokens"] = "requests",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.kind = kind
        self.headers = dict(headers or {})  # of an HTTP answer: how the limits stand


class QuotaError(TridentError):
    """The day's budget is spent; asking again today does not help."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # until the next budget; None: that will not hold it either


class NotFoundError(TridentError):
    """No such model, engine or live request."""


class QueueFullError(TridentError):
    """The bounded queue is full; try again later."""


class UnavailableError(TridentError):
    """The server cannot be reached, is not ready, or went away in mid-stream."""


class RequestCancelledError(TridentError):
    """The request was cancelled by its sender."""


class DeadlineExceededError(TridentError):
    """The request's own deadline passed."""


class EngineError(TridentError):
    """The engine failed while it worked on this request."""


class ConfigurationError(TridentError):
    """The operator's mistake: files, flags or the machine. The shell exits with status 2."""


class SettingsError(ConfigurationError):
    """A TRIDENT_* variable or an option."""


class ManifestError(ConfigurationError):
    """An engine directory that is missing, broken or not what its manifest says."""


class RecipeError(ConfigurationError):
    """A build recipe."""


class RepositoryError(ConfigurationError):
    """A model repository that does not keep the contract."""


class HostError(ConfigurationError):
    """The machine: Python, ports, memory, disk."""


@dataclass(frozen=True)
class Codes:
    """What one error is called at each seam."""

    triton: str  # a name in TritonError's code enumeration
    grpc: str  # a name in grpc.StatusCode
    http: int
    openai_type: str
    openai_code: str | None
    exit_status: int


# Triton's Python backend (release 24.10) knows UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE,
# UNSUPPORTED, ALREADY_EXISTS and CANCELLED, and nothing for a deadline.
_INVALID = Codes("INVALID_ARG", "INVALID_ARGUMENT", 400, "invalid_request_error", "invalid_value", 2)
CODES: dict[type[TridentError], Codes] = {
    InvalidRequestError: _INVALID,
    UnsupportedParameterError: Codes(
        "INVALID_ARG", "INVALID_ARGUMENT", 400, "invalid_request_error", "unsupported_parameter", 2
    ),
    PromptTooLongError: Codes(
        "INVALID_ARG", "INVALID_ARGUMENT", 400, "invalid_request_error", "context_length_exceeded", 2
    ),
    ContentBlockedError: Codes(
        "INVALID_ARG", "INVALID_ARGUMENT", 400, "invalid_request_error", "content_policy_violation", 2
    ),
    RequestTooLargeError: Codes(
        "INVALID_ARG", "INVALID_ARGUMENT", 413, "invalid_request_error", "request_too_large", 2
    ),
    AuthenticationError: Codes("INVALID_ARG", "UNAUTHENTICATED", 401, "invalid_request_error", "invalid_api_key", 2),
    PermissionDeniedError: Codes("INVALID_ARG", "PERMISSION_DENIED", 403, "permission_error", "permission_denied", 2),
    RateLimitError: Codes("UNAVAILABLE", "RESOURCE_EXHAUSTED", 429, "requests", "rate_limit_exceeded", 1),
    QuotaError: Codes("UNAVAILABLE", "RESOURCE_EXHAUSTED", 429, "insufficient_quota", "insufficient_quota", 1),
    NotFoundError: Codes("NOT_FOUND", "NOT_FOUND", 404, "invalid_request_error", "model_not_found", 2),
    QueueFullError: Codes("UNAVAILABLE", "UNAVAILABLE", 503, "server_error", "overloaded", 1),
    UnavailableError: Codes("UNAVAILABLE", "UNAVAILABLE", 503, "server_error", "unavailable", 1),
    RequestCancelledError: Codes("CANCELLED", "CANCELLED", 499, "invalid_request_error", "request_cancelled", 1),
    DeadlineExceededError: Codes("CANCELLED", "DEADLINE_EXCEEDED", 408, "timeout", "request_timeout", 1),
    EngineError: Codes("INTERNAL", "INTERNAL", 500, "server_error", None, 1),
    ConfigurationError: Codes("INTERNAL", "INTERNAL", 500, "server_error", None, 2),
}


def codes_of(error: TridentError) -> Codes:
    """The codes of `error`: its own class's row, or its nearest ancestor's."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return CODES[EngineError]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest of the `known` names, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
