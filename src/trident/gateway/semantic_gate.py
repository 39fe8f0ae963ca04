"""Whether two English requests that are near each other as vectors may share one answer.

Vectors of opposites lie nearer than those of most paraphrases, so a threshold alone serves wrong answers. Here every
word that carries meaning must be answered by itself or a synonym on the other side, as must numbers and negations; who
does what to whom must agree, and whether a way, a fact or a yes is asked for. In doubt the answer is no, which costs a
generation. Other languages pass only where both texts use the same words. It knows no vectors and no cache.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from trident.gateway.semantic_manner import Manner, clash, manner_of
from trident.gateway.semantic_stems import Stems
from trident.gateway.semantic_words import (
    FILLERS,
    INTERROGATIVES,
    LINKS,
    NEGATIONS,
    NUMBERS,
    OPENERS,
    PHRASES,
    SYNONYMS,
)

MAX_CHARS = 4000  # of a request that is compared; longer ones never share
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’-][^\W\d_]+)*|[\w]+|[.!?:;$€£¥%#+*=<>^°&@\\/-]")
_SENTENCE_END = frozenset(".!?:;\n")
_TIES = frozenset({"from", "to", "into", "than", "for", "by", "with", "over", "versus", "about"})
_TIES_APART = ({"to", "into", "for", "with"}, {"by", "from"}, {"about"})
_TIMES = frozenset(  # stems of what `by`, `for` and `in` say different things of, as they do of numbers
    {"second", "minute", "hour", "day", "week", "month", "year", "noon", "midnight", "tomorrow", "tonight", "morning"}
    | {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)
_TIMES_APART = ({"in"}, {"for"}, {"by"}, {"on", "at"})
_LINKING = frozenset({"in", "on", "at", "of", "for", "from", "to"})
_MUCH_THE_SAME = ({"with", "by"}, {"with", "from"})  # made with flour, made from flour
_VERB = re.compile(  # and not how a request begins
    r"\b((?:do|does|did|should|can|could|would|may|must) (?:i|we|they|he|she|people)|do you|how to)"
    r" (teach|say|hear|want|like|tell|show|explain|describe|define)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is compared of one request."""

    words: tuple[str, ...]  # stems in their order, each once; names among them
    names: frozenset[str]  # those of the words that were written like one
    joined: frozenset[tuple[str, str]]  # neighbours with nothing between them that does something
    numbers: tuple[str, ...]  # in their order
    num_negations: int
    manner: Manner
    ties: frozenset[tuple[str, str]]  # preposition and the word after it
    times: frozenset[tuple[str, str]]  # likewise of times and numbers
    linked: frozenset[tuple[str, str, str]]  # `joined` with the preposition between them, empty where there is none


def disagreement(one: str, other: str) -> str:
    """Why the answer to one must not be given to the other, in a few words; empty: nothing speaks against it."""
    if max(len(one), len(other)) > MAX_CHARS:
        return f"more than {MAX_CHARS} characters"
    return differing(read_meaning(one), read_meaning(other))


def differing(one: Meaning, other: Meaning) -> str:
    """Likewise, of requests that were read before."""
    if sorted(one.numbers) != sorted(other.numbers):
        return f"numbers: {_only(one.numbers, other.numbers)}"
    if one.num_negations != other.num_negations:
        return "negation"
    if set(one.words) != set(other.words):
        return f"words: {_only(one.words, other.words)}"
    return clash(one.manner, other.manner) or _by_order(one, other)


def _by_order(one: Meaning, other: Meaning) -> str:
    """Whether the same words stand for something else, because of where they are and what leads to them."""
    is_apart = (
        one.numbers != other.numbers
        or (one.manner.form == other.manner.form and _are_apart(one.ties, other.ties, _TIES_APART))
        or _are_apart(one.times, other.times, _TIMES_APART)
    )
    return "order" if is_apart or _are_swapped(one, other) or _are_tied_otherwise(one.ties, other.ties) else ""


@lru_cache(maxsize=1024)  # 0.1 ms each, and one request is compared with several
def read_meaning(text: str) -> Meaning:
    """Read a request. Pure: equal texts have equal meanings."""
    written = text
    for pattern, word in PHRASES:
        text = pattern.sub(word, text)
    manner = manner_of(written, text)
    text = _VERB.sub(r"\1 \2ing", text)
    reading = _Reading(is_shouted=text.isupper())
    for token in _tokens(text):
        reading.take(token)
    return Meaning(
        tuple(dict.fromkeys(reading.words)),
        frozenset(reading.names),
        frozenset(reading.joined),
        tuple(reading.numbers),
        reading.num_negations,
        manner,
        frozenset(reading.ties),
        frozenset(reading.times),
        frozenset(reading.linked),
    )


class _Reading:
    """A request token by token."""

    def __init__(self, *, is_shouted: bool) -> None:
        self.words: list[str] = []
        self.names: set[str] = set()
        self.joined: set[tuple[str, str]] = set()
        self.numbers: list[str] = []
        self.num_negations = 0
        self.ties: set[tuple[str, str]] = set()
        self.times: set[tuple[str, str]] = set()
        self.linked: set[tuple[str, str, str]] = set()
        self._is_shouted = is_shouted
        self._is_first = True  # of a sentence, where every word has a capital letter
        self._is_joined = False  # nothing but links since the last word
        self._has_begun = False  # a word that matters has come
        self._tie = ""
        self._link = ""  # a preposition since the last word
        self._before = ""  # the last word, be it a preposition

    def take(self, token: str) -> None:
        """The next one."""
        lower = token.lower()
        is_name = token[0].isupper() and not self._is_shouted and not self._is_first and lower != "i"
        if token[0].isdigit() or lower in NUMBERS:
            self.numbers.append(_number(token) if token[0].isdigit() else NUMBERS[lower])
            self.times.add((self._before, self.numbers[-1]))
        elif lower in NEGATIONS:
            self.num_negations += 1
        elif self._is_filler(lower) and not is_name:
            self._tie = lower if lower in _TIES else self._tie
            self._link = lower if lower in _LINKING else self._link
            self._is_joined = self._is_joined and lower in LINKS
        elif token not in _SENTENCE_END:
            self._take_word(_STEMS.of(lower), is_name)
            if self.words[-1] in _TIMES:
                self.times.add((self._before, self.words[-1]))
            self._has_begun = self._has_begun or lower not in INTERROGATIVES
        self._is_first = token in _SENTENCE_END
        self._before = lower

    def _is_filler(self, lower: str) -> bool:
        is_conjunction = lower == "when" and not self._is_first
        return lower in FILLERS or is_conjunction or (lower in OPENERS and not self._has_begun)

    def _take_word(self, stem: str, is_name: bool) -> None:
        if is_name:
            self.names.add(stem)
        if self._is_joined:
            self.joined.add((self.words[-1], stem))
            self.linked.add((self.words[-1], self._link, stem))
        if self._tie:
            self.ties.add((self._tie, stem))
        self.words.append(stem)
        self._tie, self._link, self._is_joined = "", "", True


def _tokens(text: str) -> list[str]:
    """Words, numbers and signs; of a contraction what is before it, and "not" where it says so."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        head, apostrophe, tail = token.replace("’", "'").partition("'")
        if apostrophe and token.lower().endswith(("n't", "n’t")):
            found.append("not")
        elif apostrophe and tail.lower() not in {"s", "m", "re", "ve", "d", "ll"}:
            found += [head, tail]
        else:
            found.append(head)
    return found


_STEMS = Stems(SYNONYMS)


def _number(token: str) -> str:
    """As it counts: 1,000 is 1000 and 2.50 is 2.5; dates and times stay as they are written."""
    plain = token.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", token) else token
    if re.fullmatch(r"\d+\.\d+", plain):
        plain = plain.rstrip("0").rstrip(".")
    return plain.lstrip("0") or "0"


def _are_swapped(one: Meaning, other: Meaning) -> bool:
    """Whether two words have changed places and all others stand where they stood: who does it and to whom."""
    moved = [number for number, pair in enumerate(zip(one.words, other.words, strict=True)) if pair[0] != pair[1]]
    if len(moved) != 2:
        return False
    first, second = (one.words[number] for number in moved)
    if {first, second} <= one.names | other.names or moved[1] - moved[0] > 1:
        return True
    is_equating = one.manner.is_equating and other.manner.is_equating
    if is_equating or (one.manner.is_who and {first, second} & one.names):
        return True  # is a tomato a fruit, who hit Tom
    if any((last, link, before) in other.linked for before, link, last in one.linked if link):
        return True  # the box on the table
    return (first, second) not in one.joined and (second, first) not in other.joined


def _are_tied_otherwise(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    """Whether a preposition leads to another word in each, or a word is where one comes from and the other goes."""
    mine, theirs = dict(sorted(one)), dict(sorted(other))
    left, right = ({word for tie, word in ties if tie == "from"} for ties in (one, other))
    if left & _ends(other) or right & _ends(one):
        return True
    return any(mine[tie] != theirs[tie] for tie in mine.keys() & theirs.keys())


def _are_apart(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]], apart: Sequence[Set[str]]) -> bool:
    """Whether prepositions that mean something else lead to the same word: a book by her, a book about her."""
    for tie, word in one:
        for their, same in other:
            groups = [group for group in apart if tie in group or their in group]
            if same == word and len(groups) == 2 and {tie, their} not in _MUCH_THE_SAME:
                return True
    return False


def _ends(ties: frozenset[tuple[str, str]]) -> set[str]:
    return {word for tie, word in ties if tie in {"to", "into"}}


def _only(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    """What each has that the other has not."""
    mine, theirs = Counter(one) - Counter(other), Counter(other) - Counter(one)
    return f"{' '.join(mine) or '-'} / {' '.join(theirs) or '-'}"
