"""English words without their endings: one stem for the forms of a word, and hardly ever one for two words.

`plan` and `plane`, `part` and `party`, `police` and `policy` stay apart; what is a word of its own in the plural too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Not a form of the word that they would be without their endings. Found by the 21,000 words of a tokenizer: whatever
# shared a stem was read.
_WHOLE = _words(
    """
    news customs arms glasses goods savings species series physics statement department apartment installment
    earring stocking furnishing hastings cummings jennings experiment catchment internment
    cooperation liquidation fabrication consolation documentation visitation reformation
    heroine humane paste france frances morale locale rationale envelope secrete urbane diverse corpse coupe clothe
    breathe borne haste blonde petite madame forte grande royale butte grille chorale
    louise simone justine carole denise marie auguste halle sainte wilde steele sharpe earle wolfe poole moore clarke
    crewe belle helene leone eugene valentine theodore monte lange crowe caine christie gustave livingstone thorne
    stephane sloane hawthorne cochrane argyle osborne levine meade michele renee boone emile hesse lynne hawke dunne
    greene brooke johnstone francoise constantine lexie claire christophe philippe elle
    """
)
_SIBILANT = ("sses", "xes", "zes", "ches", "shes")
_SHORT = re.compile(r"(?:qu|[^aeiouy])*[aeiouy][^aeiouwxy]")  # cap, star, quit: with an e it is another word
_VOWELS = re.compile(r"[aeiouy]+")


def stem(word: str) -> str:
    """Of a word in lower case."""
    if len(word) <= 3 or word in _WHOLE:
        return word
    word = _singular(word)
    if word in _WHOLE:
        return word
    word = _without_past(word)
    if word.endswith("ly") and len(word) > 5:
        word = word[:-2]
    for ending in ("ation", "ment"):
        if word.endswith(ending) and len(word) - len(ending) >= 5 and word not in _WHOLE:
            word = word.removesuffix(ending)
    word = _undoubled(word) if word.endswith("ll") else word
    is_short = word.endswith("e") and _SHORT.fullmatch(word[:-1])
    return word[:-1] if word.endswith("e") and len(word) > 4 and not is_short else word


class Stems:
    """With synonyms: all of them have the stem of the one that they stand for."""

    def __init__(self, synonyms: Mapping[str, str]) -> None:
        """From each word to what it stands for."""
        self._by_word = {word: stem(first) for word, first in synonyms.items()}
        self._by_stem = {stem(word): stem(first) for word, first in synonyms.items()}

    def of(self, word: str) -> str:
        """The stem of a word in lower case."""
        bare = stem(word)
        return self._by_word.get(word) or self._by_stem.get(bare, bare)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(_SIBILANT) or (word.endswith("oes") and len(word) > 5):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _without_past(word: str) -> str:
    """Without -ed or -ing; with the e that it took from a short word: baked is bake, planned is plan."""
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    ending = "ing" if word.endswith("ing") else "ed" if word.endswith("ed") and not word.endswith("eed") else ""
    bare = word.removesuffix(ending)
    if not ending or len(bare) < 3 or not _VOWELS.search(bare):
        return word
    undoubled = _undoubled(bare)
    return bare + "e" if undoubled == bare and _SHORT.fullmatch(bare) else undoubled


def _undoubled(word: str) -> str:
    if len(word) < 4 or word[-1] != word[-2] or word[-1] in "aeiousfz":
        return word
    return word if word[-1] == "l" and len(_VOWELS.findall(word)) == 1 else word[:-1]
