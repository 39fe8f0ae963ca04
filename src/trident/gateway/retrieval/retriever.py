"""The seam between a question and the passages that may answer it. It knows no prompt and no model that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document."""

    document: str  # its name
    place: str  # in the document, for people: "lines 3-9, Refunds"
    text: str
    score: float  # cosine of it and the question


@dataclass(frozen=True, slots=True)
class Found:
    """Of one question, the best first; `version` is another after every change of the collection."""

    version: str
    passages: Sequence[Passage]


class Retriever(Protocol):
    """Who finds passages."""

    async def find(self, tenant: str, collection: str, question: str, k: int) -> Found:
        """The `k` nearest of the tenant's collection.

        Raises:
            NotFoundError: the tenant has no such collection.
            UnavailableError: it cannot be looked for now.
        """
        ...
