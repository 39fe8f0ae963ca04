"""Answers in memory, bounded in bytes and in time; the least recently used leave first. It knows no requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachetools import TLRUCache

from trident_client.completion import Delta

_ENTRY_BYTES = 1000  # about what an entry takes beside its texts
_DELTA_BYTES = 400
_CHAR_BYTES = 4
_NUMBER_BYTES = 40  # with its place in a tuple
_SMALL_BYTES = 100  # a tuple, or a short text of bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One whole answer, as it streamed."""

    key: str
    tenant: str
    model: str
    prompt: str  # its beginning, to find it by
    tags: frozenset[str]
    deltas: tuple[Delta, ...]
    ttl_s: float

    @property
    def size_bytes(self) -> int:
        """About what it takes."""
        return _ENTRY_BYTES + _CHAR_BYTES * len(self.prompt) + sum(map(_bytes_of, self.deltas))


def _bytes_of(delta: Delta) -> int:
    num_chars = len(delta.text) + len(delta.reasoning) + sum(len(beam.text) for beam in delta.beams)
    num_chars += len(repr(delta.report)) if delta.report else 0
    num_numbers = len(delta.log_probs) + sum(map(len, delta.top_ids)) + sum(map(len, delta.top_log_probs))
    num_small = len(delta.token_texts) + len(delta.top_ids) + len(delta.top_log_probs) + len(delta.beams)
    arrays = sum(each.nbytes for each in (delta.context_logits, delta.generation_logits) if each is not None)
    return _DELTA_BYTES + _CHAR_BYTES * num_chars + _NUMBER_BYTES * num_numbers + _SMALL_BYTES * num_small + int(arrays)


class Labelled(Protocol):
    """What something is dropped by."""

    @property
    def key(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def tags(self) -> frozenset[str]: ...


def is_meant(what: Labelled, *, key: str, prefix: str, model: str, tag: str, tenant: str) -> bool:
    """Whether all that is given holds for it; `prefix`: of its prompt."""
    return (
        (not key or what.key == key)
        and what.prompt.startswith(prefix)
        and (not model or what.model == model)
        and (not tag or tag in what.tags)
        and (not tenant or what.tenant == tenant)
    )


class Store:
    """For one event loop."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TLRUCache[str, Entry] = TLRUCache(
            max_bytes,
            ttu=lambda _, entry, now: now + entry.ttl_s,
            timer=clock,
            getsizeof=lambda entry: entry.size_bytes,
        )

    def get(self, key: str) -> Entry | None:
        """None: there is none, or its time is over."""
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """In place of one with the same key; one that is too large for everything is left out."""
        if entry.size_bytes <= self._entries.maxsize:
            self._entries[entry.key] = entry

    def drop(
        self, *, key: str = "", prefix: str = "", model: str = "", tag: str = "", tenant: str = ""
    ) -> Sequence[Entry]:
        """Forget every entry for which all that is given holds; `prefix`: of its prompt. What was forgotten."""
        self._entries.expire()
        found = [
            entry
            for entry in self._entries.values()
            if is_meant(entry, key=key, prefix=prefix, model=model, tag=tag, tenant=tenant)
        ]
        for entry in found:
            del self._entries[entry.key]
        return found

    def __len__(self) -> int:
        self._entries.expire()
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Of all entries, about."""
        return int(self._entries.currsize)
