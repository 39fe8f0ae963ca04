"""The labelled pairs of requests on which a semantic cache is judged, in English, made for this project.

`semantic_pairs.jsonl` was written pair by pair: paraphrases, opposites, changed numbers and names, exchanged roles,
other questions about the same thing. Its half `held_out` was checked repeatedly during tuning. Of what must not share
an answer there is more: pairs out of `semantic_frames.txt`, which says how. It knows no cache and no gate.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

FILE = Path(__file__).with_name("semantic_pairs.jsonl")
FRAMES = Path(__file__).with_name("semantic_frames.txt")
Kind = Literal["paraphrase", "opposite", "negation", "number", "name", "role", "question", "time or unit", "matter"]
Half = Literal["tuned", "held_out"]
_PAIRS_A_FRAME = 5
_PLACE = re.compile(r"\{(\w+)([!<>]?)\}|\[([^|\]]*)\|([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two requests, and what they are to each other. Only paraphrases may share an answer."""

    one: str
    other: str
    kind: Kind  # the reason why they may not
    half: Half
    cosine: float = 1.0  # all-MiniLM-L6-v2's; 1 where nobody has written it down: the gate alone has to refuse
    frame: str = ""  # the sentence that it is made of; pairs of one frame say little more than one of them

    @property
    def is_paraphrase(self) -> bool:
        """Whether one answer serves both."""
        return self.kind == "paraphrase"


def read_pairs() -> tuple[Pair, ...]:
    """Those that were written, in the file's order, and then those out of frames."""
    written = [Pair(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return (*written, *_out_of_frames(FRAMES.read_text(encoding="utf-8")))


def _out_of_frames(text: str) -> Iterator[Pair]:
    half: Half = "tuned"
    lists: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("## "):
            (half,) = (each for each in get_args(Half) if each == line[3:])
            lists = {}
        elif line.startswith("= "):
            name, _, values = line[2:].partition(": ")
            lists[name] = values.split(", ")
        elif line and not line.startswith("#"):
            name, _, frame = line.partition(": ")
            (kind,) = (each for each in get_args(Kind) if each == name)
            yield from (Pair(*texts, kind, half, frame=frame) for texts in _filled(frame, lists))


def _filled(frame: str, lists: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """So many different pairs as there are, the same ones every time."""
    chance = random.Random(frame)  # noqa: S311 - which words are taken is no secret
    found: set[tuple[str, str]] = set()
    for _ in range(20 * _PAIRS_A_FRAME):
        pair = _fill(frame, {name: chance.sample(values, len(values)) for name, values in lists.items()})
        if pair not in found and len(found) < _PAIRS_A_FRAME:
            found.add(pair)
            yield pair


def _fill(frame: str, drawn: Mapping[str, list[str]]) -> tuple[str, str]:
    """`drawn`: the values of each list in a random order; no place takes another's."""
    one, other, end = "", "", 0
    first: dict[str, str] = {}  # of what changes places
    for place in _PLACE.finditer(frame):
        between, end = frame[end : place.start()], place.end()
        name, mark, left, right = place.groups()
        if mark == "<":
            first[name] = left = drawn[name].pop()
            right = drawn[name][-1]
        elif mark == ">":
            left, right = drawn[name].pop(), first[name]
        elif name:
            left = drawn[name].pop()
            right = drawn[name].pop() if mark else left
        one, other = one + between + left, other + between + right
    return one + frame[end:], other + frame[end:]
