"""Whether two English requests that are near each other as vectors may share one answer.

Vectors of opposites lie nearer than those of most paraphrases, so a threshold alone serves wrong answers. Here every
word that carries meaning must be answered by itself or a synonym on the other side, as must numbers and negations; who
does what to whom must agree, and whether a way, a fact or a yes is asked for. In doubt the answer is no, which costs a
generation. Other languages pass only where both texts use the same words. It knows no vectors and no cache.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

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
_SUFFIXES = ("ations", "ation", "ences", "ence", "ments", "ment", "ingly", "ings", "ing", "edly", "ies", "ied",
             "ed", "es", "ly", "s", "y", "e")  # fmt: skip
_SHORTEST_STEM = 3
_HOW_TO = re.compile(
    r"\bhow (?:do|can|could|should|would|might|must) (?:i|you|we|one|people|somebody)\b|\bhow to\b"
    r"|\bwhat (?:is|are|'s|would be) (?:the|a|some) (?:\w+ )?(?:way|steps|procedure|process|method)"
    r"|\b(?:do|can|should|must|have) (?:i|we|you) (?:have to )?do to\b"
    r"|\bwhat (?:do|can|should|must) (?:i|we|you) (?:\w+ ){0,3}do\b"
    r"|^what (?:\w+ )?(?:do i need|is needed|are needed)|\brecipe for\b",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"^(?:please )?(?:explain|define|describe)\b|^what(?:'s| is| are| does)\b"
    r"|^how (?:does|do) (?!i\b|you\b|we\b|one\b)",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"^(?:please )?(?:(?:can|could|would|will) you (?:please )?|i(?:'d| would) like (?:you )?to |help me (?:to )?)+",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"^(?:is|are|am|was|were|do|does|did|can|could|will|would|should|may|has|have) ", re.IGNORECASE)
_TIES = frozenset({"from", "to", "into", "than", "for", "by", "with", "over", "versus"})

_ASKS = re.compile(r"\b(?:what|which|how|who|whose|when|where|why)\b", re.IGNORECASE)

Form = Literal["how to", "what", "yes or no", "command", ""]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What is compared of one request."""

    words: tuple[str, ...]  # stems in their order, each once; names among them
    names: frozenset[str]  # those of the words that were written like one
    joined: frozenset[tuple[str, str]]  # neighbours with nothing between them that does something
    numbers: tuple[str, ...]  # sorted
    num_negations: int
    form: Form
    ties: frozenset[tuple[str, str]]  # preposition and the word after it


def disagreement(one: str, other: str) -> str:
    """Why the answer to one must not be given to the other, in a few words; empty: nothing speaks against it."""
    if max(len(one), len(other)) > MAX_CHARS:
        return f"more than {MAX_CHARS} characters"
    return differing(read_meaning(one), read_meaning(other))


def differing(one: Meaning, other: Meaning) -> str:
    """Likewise, of requests that were read before."""
    if one.numbers != other.numbers:
        return f"numbers: {_only(one.numbers, other.numbers)}"
    if one.num_negations != other.num_negations:
        return "negation"
    if set(one.words) != set(other.words):
        return f"words: {_only(one.words, other.words)}"
    forms = {one.form, other.form}
    if len(forms) == 2 and "" not in forms and forms != {"what", "command"}:  # "weather in Oslo" asks what it is
        return f"form: {one.form} / {other.form}"
    if _are_swapped(one, other) or _are_tied_otherwise(one.ties, other.ties):
        return "order"
    return ""


def read_meaning(text: str) -> Meaning:
    """Read a request. Pure: equal texts have equal meanings."""
    form = _form_of(text)
    for pattern, word in PHRASES:
        text = pattern.sub(word, text)
    reading = _Reading(is_shouted=text.isupper())
    for token in _tokens(text):
        reading.take(token)
    return Meaning(
        tuple(dict.fromkeys(reading.words)),
        frozenset(reading.names),
        frozenset(reading.joined),
        tuple(sorted(reading.numbers)),
        reading.num_negations,
        form,
        frozenset(reading.ties),
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
        self._is_shouted = is_shouted
        self._is_first = True  # of a sentence, where every word has a capital letter
        self._is_joined = False  # nothing but links since the last word
        self._has_begun = False  # a word that matters has come
        self._tie = ""

    def take(self, token: str) -> None:
        """The next one."""
        lower = token.lower()
        is_name = token[0].isupper() and not self._is_shouted and not self._is_first and lower != "i"
        if token[0].isdigit():
            self.numbers.append(_number(token))
        elif lower in NUMBERS:
            self.numbers.append(NUMBERS[lower])
        elif lower in NEGATIONS:
            self.num_negations += 1
        elif self._is_filler(lower) and not is_name:
            self._tie = lower if lower in _TIES else self._tie
            self._is_joined = self._is_joined and lower in LINKS
        elif token not in _SENTENCE_END:
            self._take_word(_stem(lower), is_name)
            self._has_begun = self._has_begun or lower not in INTERROGATIVES
        self._is_first = token in _SENTENCE_END

    def _is_filler(self, lower: str) -> bool:
        is_conjunction = lower == "when" and not self._is_first
        return lower in FILLERS or is_conjunction or (lower in OPENERS and not self._has_begun)

    def _take_word(self, stem: str, is_name: bool) -> None:
        if is_name:
            self.names.add(stem)
        if self._is_joined:
            self.joined.add((self.words[-1], stem))
        if self._tie:
            self.ties.add((self._tie, stem))
        self.words.append(stem)
        self._tie, self._is_joined = "", True


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


def _stem(word: str) -> str:
    """Without its ending: the same for most forms of a word and its synonyms, and for few words that differ."""
    bare = _without_ending(word)
    return _STEMS.get(word) or _STEMS.get(bare, bare)


def _without_ending(word: str) -> str:
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _SHORTEST_STEM:
            word = word.removesuffix(suffix)
            break
    if word.endswith("e") and len(word) > _SHORTEST_STEM:
        word = word[:-1]
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == word[-2] and word[-1] not in "aeiou" else word


_STEMS = {
    **{_without_ending(word): _without_ending(first) for word, first in SYNONYMS.items()},
    **{word: _without_ending(first) for word, first in SYNONYMS.items()},
}


def _number(token: str) -> str:
    """As it counts: 1,000 is 1000 and 2.50 is 2.5; dates and times stay as they are written."""
    plain = token.replace(",", "") if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", token) else token
    if re.fullmatch(r"\d+\.\d+", plain):
        plain = plain.rstrip("0").rstrip(".")
    return plain.lstrip("0") or "0"


def _form_of(text: str) -> Form:
    text = text.strip()
    begun = _REQUEST.match(text)
    bare = text[begun.end() :] if begun else text
    if _HOW_TO.search(bare):
        return "how to"
    if _YES_OR_NO.match(bare):
        return "yes or no"
    if _DEFINITION.match(bare):
        return "what"
    is_open = _ASKS.search(bare) or (begun and "help me" in begun.group().lower())
    return "" if is_open else "command"


def _are_swapped(one: Meaning, other: Meaning) -> bool:
    """Whether two words have changed places and all others stand where they stood: who does it and to whom."""
    moved = [number for number, pair in enumerate(zip(one.words, other.words, strict=True)) if pair[0] != pair[1]]
    if len(moved) != 2:
        return False
    first, second = (one.words[number] for number in moved)
    if {first, second} <= one.names | other.names or moved[1] - moved[0] > 1:
        return True
    return (first, second) not in one.joined and (second, first) not in other.joined


def _are_tied_otherwise(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    """Whether a preposition leads to another word in each, or a word is where one comes from and the other goes."""
    mine, theirs = dict(sorted(one)), dict(sorted(other))
    left, right = ({word for tie, word in ties if tie == "from"} for ties in (one, other))
    if left & _ends(other) or right & _ends(one):
        return True
    return any(mine[tie] != theirs[tie] for tie in mine.keys() & theirs.keys())


def _ends(ties: frozenset[tuple[str, str]]) -> set[str]:
    return {word for tie, word in ties if tie in {"to", "into"}}


def _only(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    """What each has that the other has not."""
    mine, theirs = Counter(one) - Counter(other), Counter(other) - Counter(one)
    return f"{' '.join(mine) or '-'} / {' '.join(theirs) or '-'}"
