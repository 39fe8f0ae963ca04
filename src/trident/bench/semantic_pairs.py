"""The labelled pairs of requests on which a semantic cache is judged: `semantic_pairs.jsonl`, an object a line.

Written by hand for this project, in English: paraphrases, opposites, changed numbers and names, exchanged roles, other
questions about the same thing. No word was chosen by looking at pairs of the half `held_out`, but its figures were
checked repeatedly during tuning: they are no estimate from unseen data. `cosine` is all-MiniLM-L6-v2's.
It knows no cache and no gate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("semantic_pairs.jsonl")
Kind = Literal["paraphrase", "opposite", "number", "name", "role", "question", "time or unit", "matter"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests, and what they are to each other. Only paraphrases may share an answer."""

    one: str
    other: str
    kind: Kind  # the reason why they may not
    half: Literal["tuned", "held_out"]
    cosine: float

    @property
    def is_paraphrase(self) -> bool:
        """Whether one answer serves both."""
        return self.kind == "paraphrase"


def read_pairs() -> tuple[Pair, ...]:
    """All of them, in the file's order."""
    return tuple(Pair(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines())
