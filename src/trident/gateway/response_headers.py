"""What the headers of a response say of its route and of the cache."""

from __future__ import annotations

from collections.abc import Mapping

from trident.gateway.asked import Outcome
from trident.gateway.cache.answers import Hit, Lead

_MAX_CHARS = 512


def route_headers(outcome: Outcome) -> Mapping[str, str]:
    """The deployment and the reasons for it."""
    reasons = () if outcome.decision is None else outcome.decision.reasons
    return {
        "x-trident-deployment": _printable(outcome.deployment),
        "x-trident-route": _printable("; ".join(reasons)),
    }


def cache_headers(found: Hit | Lead | None) -> Mapping[str, str]:
    """`found`: as of `AnswerCache.find`."""
    if found is None:
        return {"x-trident-cache": "bypass"}
    told = {"x-trident-cache": found.how if isinstance(found, Hit) else "miss", "x-trident-cache-key": found.key}
    return {**told, "x-trident-cache-reason": _printable(found.reason)} if found.reason else told


def _printable(text: str) -> str:
    """As a header may hold it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:_MAX_CHARS]).strip()
