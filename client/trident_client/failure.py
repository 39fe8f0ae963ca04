"""Which leaf of the error tree a failed call is: the part that both transports share.

Triton tells it by text more than by status: release 24.10 answers every failed `generate` with 400 and
puts the errors of a stream into responses that have no status at all. So the wording decides; a status
narrows the choice and has the word when the wording says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from trident.errors import (
    CODES,
    ContentBlockedError,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    PromptTooLongError,
    QueueFullError,
    QuotaError,
    RequestCancelledError,
    TridentError,
    UnavailableError,
    UnsupportedParameterError,
)

ANY = tuple(CODES)

# First match wins: Trident's own sentences, some of which quote what the client sent, by how they begin;
# then Triton's, the narrow before the wide.
_WORDINGS: tuple[tuple[str, type[TridentError]], ...] = (
    (r"^the engine is not running|^the server is stopping", UnavailableError),
    (r"^internal error|^the engine |^the KV cache is too small|^a response could not|^the answer does", EngineError),
    (r"^deadline exceeded", DeadlineExceededError),
    (r"^the daily budget", QuotaError),
    (r"^(prompt \d+: )?the check '", ContentBlockedError),
    (r"^(a live request|unknown parameter|messages\[|the model's chat template)", InvalidRequestError),
    (r"this engine takes at most", PromptTooLongError),
    (r"queue is full|queue size", QueueFullError),
    (r"deadline exceeded|request timeout|timed out", DeadlineExceededError),
    (r"^(the )?(inference )?request( was| is| has been)? cancelled", RequestCancelledError),
    (r"unknown model|model .*not found", NotFoundError),
    (r"not ready|unavailable|no available versions|shutting down|stopping", UnavailableError),
    (r"prompt.* (at most|exceed|too long|longer)", PromptTooLongError),
    (r"not support|unsupported", UnsupportedParameterError),
    (r"(unable|failed) to parse|must be|invalid", InvalidRequestError),
    (r"internal error|failed|ran out|refused|not healthy|exception|traceback", EngineError),
)
_PREFIX = re.compile(r"^in ensemble '[^']*', ")


def error_of(text: str, among: Collection[type[TridentError]], default: type[TridentError]) -> TridentError:
    """The error that Triton's `text` tells of: a leaf of `among` by its wording, or `default`."""
    text = _PREFIX.sub("", " ".join(text.split()))
    for wording, leaf in _WORDINGS:
        if leaf in among and re.search(wording, text, re.IGNORECASE):
            return leaf(text)
    return default(text)


def error_of_text(text: str, *, has_begun: bool) -> TridentError:
    """The error that Triton's text tells of when no status came with it.

    `has_begun`: a response came before. Requests are refused before the first, engines fail after it.
    """
    return error_of(text, ANY, EngineError if has_begun else InvalidRequestError)


def unreachable(url: str, detail: str) -> UnavailableError:
    """The server does not answer."""
    return UnavailableError(f"no answer from {url} ({detail}); is `trident serve` running there?")


def closed() -> RequestCancelledError:
    """The stream or the client was closed while somebody read."""
    return RequestCancelledError("the stream was closed")


def not_triton(url: str, detail: str, port: str) -> UnavailableError:
    """Something answers that does not speak the protocol."""
    return UnavailableError(f"{url} does not answer as Triton does ({detail}); is it its {port} port?")


def cut_off(url: str, detail: str) -> UnavailableError:
    """The server went away after it had begun to answer."""
    return UnavailableError(f"{url} went away in mid-answer ({detail}); is `trident serve` still running there?")
