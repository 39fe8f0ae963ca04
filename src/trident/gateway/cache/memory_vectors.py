"""Vectors in this process, of all namespaces so many; those that were longest not near to anything leave first.

A namespace is a list until it is large, and then an index of usearch, which takes some 50 KB however little it holds:
most namespaces are one conversation's.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from usearch.index import Index

from trident.gateway.cache.store import is_meant
from trident.gateway.cache.vectors import Item, Near, Vector

_MAX_LISTED = 64  # vectors of a namespace without an index
_MAX_EXACT = 4096  # of an index, compared one by one: faster than its graph, and misses nothing


@dataclass(frozen=True, slots=True)
class _Kept:
    item: Item
    number: int
    ends_at: float


class MemoryVectors:
    """For one event loop."""

    is_shared = False

    def __init__(self, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._tagged: dict[str, set[str]] = {}  # keys by tag
        self._keys: dict[int, str] = {}
        self._spaces: dict[str, _Space] = {}
        self._num_added = 0

    async def start(self) -> None:
        """See `Vectors`."""

    async def add(self, item: Item) -> None:
        """See `Vectors`."""
        self._remove(item.key)
        while len(self._kept) >= self._max_entries:
            self._remove(next(iter(self._kept)))
        number = self._num_added = self._num_added + 1
        self._spaces.setdefault(item.namespace, _Space()).add(number, item.vector)
        self._kept[item.key] = _Kept(item, number, self._clock() + item.ttl_s)
        self._keys[number] = item.key
        for tag in item.tags:
            self._tagged.setdefault(tag, set()).add(item.key)

    async def nearest(self, namespace: str, vector: Vector, k: int) -> Sequence[Near]:
        """See `Vectors`."""
        space = self._spaces.get(namespace)
        found: list[Near] = []
        for number, cosine in () if space is None else space.nearest(vector, k):
            kept = self._kept[self._keys[number]]
            if kept.ends_at <= self._clock():
                self._remove(kept.item.key)
            else:
                self._kept.move_to_end(kept.item.key)
                found.append(Near(kept.item.key, cosine, kept.item.tenant, kept.item.payload))
        return found

    async def drop(
        self, *, key: str = "", prefix: str = "", model: str = "", tag: str = "", tenant: str = ""
    ) -> Sequence[str]:
        """See `Vectors`."""
        keys: Iterable[str] = self._tagged.get(tag, ()) if tag else self._kept
        if key:
            keys = (key,) if key in self._kept else ()
        found = [
            each
            for each in keys
            if is_meant(self._kept[each].item, key=key, prefix=prefix, model=model, tag=tag, tenant=tenant)
        ]
        for each in found:
            self._remove(each)
        return found

    async def count(self) -> int:
        """See `Vectors`; those whose time is over count until somebody comes near them."""
        return len(self._kept)

    async def close(self) -> None:
        """See `Vectors`."""

    def _remove(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return
        del self._keys[kept.number]
        for tag in kept.item.tags:
            keys = self._tagged[tag]
            keys.remove(key)
            if not keys:
                del self._tagged[tag]
        space = self._spaces[kept.item.namespace]
        space.remove(kept.number)
        if not len(space):
            del self._spaces[kept.item.namespace]


class _Space:
    """One namespace; all its vectors have the same dimensions."""

    def __init__(self) -> None:
        self._listed: dict[int, Vector] = {}
        self._index: Index | None = None

    def __len__(self) -> int:
        return len(self._listed) if self._index is None else len(self._index)

    def add(self, number: int, vector: Vector) -> None:
        if self._index is None and len(self._listed) < _MAX_LISTED:
            self._listed[number] = vector
            return
        if self._index is None:
            self._index = Index(ndim=len(vector), metric="cos", dtype="f16")
            for other, listed in self._listed.items():
                self._index.add(other, listed)
            self._listed.clear()
        self._index.add(number, vector)

    def nearest(self, vector: Vector, k: int) -> list[tuple[int, float]]:
        if self._index is None:
            numbers = list(self._listed)
            cosines = np.stack(list(self._listed.values())) @ vector
            return [(numbers[place], float(cosines[place])) for place in np.argsort(-cosines, kind="stable")[:k]]
        found = self._index.search(vector, k, exact=len(self._index) <= _MAX_EXACT)
        return [(int(key), 1.0 - float(far)) for key, far in zip(found.keys, found.distances, strict=True)]

    def remove(self, number: int) -> None:
        if self._index is None:
            del self._listed[number]
        else:
            self._index.remove(number)
