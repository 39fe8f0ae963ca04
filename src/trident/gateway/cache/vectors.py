"""Vectors by namespace and key: the seam between what is looked up by meaning and where it is kept.

A namespace is closed: what is in one is never near to anything in another. It knows no answers and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]  # float32[dimensions], of length 1


@dataclass(frozen=True, slots=True)
class Item:
    """A vector and what belongs to it. `tenant`, `model`, `prompt` and `tags` are what it is dropped by."""

    namespace: str
    key: str
    vector: Vector
    payload: str  # for whoever finds it
    ttl_s: float
    tenant: str
    model: str = ""
    prompt: str = ""  # its beginning
    tags: frozenset[str] = frozenset()


class Near(NamedTuple):
    """One that was found."""

    key: str
    cosine: float
    tenant: str
    payload: str


class Vectors(Protocol):
    """Where they are kept. Every call may raise UnavailableError."""

    is_shared: bool  # others put items there too

    async def start(self) -> None:
        """Open what has to be open; raises SettingsError when it cannot be."""
        ...

    async def add(self, item: Item) -> None:
        """In place of one with the same key; another leaves when there are too many."""
        ...

    async def nearest(self, namespace: str, vector: Vector, k: int) -> Sequence[Near]:
        """Of those in the namespace whose time is not over, the nearest first."""
        ...

    async def drop(
        self, *, key: str = "", prefix: str = "", model: str = "", tag: str = "", tenant: str = ""
    ) -> Sequence[str]:
        """Forget every one for which all that is given holds; their keys."""
        ...

    async def count(self) -> int:
        """How many there are."""
        ...

    async def close(self) -> None:
        """Nothing is asked any more."""
        ...
