"""What a request's headers, or a gRPC call's metadata, say of the cache."""

from __future__ import annotations

from collections.abc import Mapping

from trident.errors import InvalidRequestError
from trident.gateway.asked import CacheWish

_MAX_TAGS = 16
_MAX_TAG_CHARS = 64


def cache_wish_of(headers: Mapping[str, str]) -> CacheWish:
    """`cache-control: no-store` or `no-cache` (RFC 9111); `x-trident-cache: sampled`.

    Raises:
        InvalidRequestError: `x-trident-cache` says something else.
    """
    control = {part.strip().lower() for part in headers.get("cache-control", "").split(",")}
    if "no-store" in control:
        return "no-store"
    if "no-cache" in control:
        return "no-cache"
    wish = headers.get("x-trident-cache", "")
    if wish not in {"", "sampled"}:
        raise InvalidRequestError(f"x-trident-cache must be 'sampled', got {wish[:40]!r}", param="x-trident-cache")
    return "sampled" if wish else "default"


def cache_tags_of(headers: Mapping[str, str]) -> frozenset[str]:
    """`x-trident-cache-tags: a, b`, by which answers can be forgotten.

    Raises:
        InvalidRequestError: too many, or one is too long.
    """
    given = headers.get("x-trident-cache-tags", "")
    tags = frozenset(tag.strip() for tag in given.split(",") if tag.strip())
    if len(tags) > _MAX_TAGS or any(len(tag) > _MAX_TAG_CHARS for tag in tags):
        raise InvalidRequestError(
            f"x-trident-cache-tags holds {_MAX_TAGS} tags of {_MAX_TAG_CHARS} characters at most",
            param="x-trident-cache-tags",
        )
    return tags
