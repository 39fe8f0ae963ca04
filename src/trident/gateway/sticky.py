"""Who gets which deployment, so that he gets the same one tomorrow: weighted rendezvous hashing.

Every deployment draws a time from an exponential distribution with its weight as rate; the first wins. So each wins in
proportion to its weight, and a weight that grows moves only those who come to it.
Source: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Literal

from trident.gateway.asked import Asked
from trident.gateway.identity import ANONYMOUS

Sticky = Literal["none", "key", "tenant", "user", "conversation"]
_BITS = 52  # so that (number + 1/2) / 2**52 is exact, and neither 0 nor 1
_STEPS = float(1 << _BITS)


def uniform(*parts: str) -> float:
    """A number between 0 and 1, neither of them, the same for the same parts everywhere and for ever."""
    digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> (64 - _BITS)) + 0.5) / _STEPS


def ranked(weights: Mapping[str, float], draw: Callable[[str], float]) -> list[str]:
    """The names of positive weight, the one that wins first; `draw` gives each a number between 0 and 1."""
    drawn = {name: -math.log(max(draw(name), 2.0**-60)) / weight for name, weight in weights.items() if weight > 0}
    return sorted(drawn, key=lambda name: drawn[name])


def unit_of(asked: Asked, sticky: Sticky) -> tuple[str, str] | None:
    """Who keeps a deployment, as kind and id; None: nobody, every request is drawn by itself.

    Where the client names no conversation its user counts, and where it names no user the key; who came without a key
    is nobody.
    """
    identity = asked.identity
    known = {
        "conversation": asked.conversation,
        "user": asked.user,
        "key": "" if identity.key_id == ANONYMOUS.key_id else identity.key_id,
        "tenant": "" if identity.key_id == ANONYMOUS.key_id else identity.tenant,
    }
    orders: dict[Sticky, tuple[str, ...]] = {
        "none": (),
        "conversation": ("conversation", "user", "key"),
        "user": ("user", "key"),
        "key": ("key",),
        "tenant": ("tenant",),
    }
    kind = next((kind for kind in orders[sticky] if known[kind]), None)
    return None if kind is None else (kind, f"{identity.tenant}/{known[kind]}")
