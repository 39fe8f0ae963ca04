"""How a request is put, beyond its words: its form, when and whether something must be, whose it is, what is done.

Two requests of the same words may differ in this alone: "Do I need a visa?", "Can I get a visa?". It knows no words of
the matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Form = Literal["how to", "what", "yes or no", "command", ""]

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
_YES_OR_NO = re.compile(
    r"^(?:is|are|am|was|were|do|does|did|can|could|will|would|should|may|has|have|must|might) ", re.IGNORECASE
)
_ASKS = re.compile(r"\b(?:what|which|how|who|whose|when|where|why)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_GOING_TO = re.compile(r"\b(?:is|are|am)\b((?: \w+)?) going to\b", re.IGNORECASE)
_FOR_WHOM = re.compile(r"\b(?:for|to|with|from|about) (him|her|them)\W*$", re.IGNORECASE)


def _table(**groups: str) -> dict[str, str]:
    return {word: name for name, words in groups.items() for word in words.split()}


_TENSES = _table(
    past="was were did wasn't weren't didn't",
    present="is are am does do isn't aren't doesn't don't",
    future="will shall won't",
)
_PERFECT = _table(present="has have", past="had")  # auxiliaries where they come first, else often possession
_MODES = _table(
    possible="can could may might able possible allowed permitted can't cannot couldn't",
    necessary="must should ought need needs needed require requires required necessary shouldn't mustn't needn't",
)
_DOINGS = _table(make="make makes making made", get="get gets getting got", use="use uses using used")
_PERSONS = _table(
    he="he him his", she="she her hers", i="i me my mine we us our", you="you your yours", they="they them"
)
_JUDGING = frozenset({"good", "best", "right", "proper", "ideal"})
_ADVISING = _JUDGING | {"should", "recommend", "recommended", "suggest", "advise", "tip", "tips", "idea", "ideas"}


@dataclass(frozen=True, slots=True)
class Manner:
    """Of one request."""

    form: Form
    tense: str  # of the first verb that shows one
    tenses: frozenset[str]
    modes: frozenset[str]
    doings: frozenset[str]
    persons: tuple[str, ...]  # each once, in their order
    for_whom: str
    owner: str  # "mine", "yours"
    is_judging: bool  # asks for the good one
    is_advising: bool
    is_who: bool
    is_equating: bool  # asks whether one thing is another
    is_open: bool  # begins with what, which or how: no yes and no no answers it


def manner_of(text: str, plain: str) -> Manner:
    """`text`: as it was written; `plain`: with its phrases replaced."""
    form = _form_of(text.strip())
    words = _words(_GOING_TO.sub(r"will\1", _without_request(plain)))
    written = set(_words(_without_request(text)))
    known = set(words) | written
    tenses = [_TENSES[word] for word in words if word in _TENSES]
    if words and words[0] in _PERFECT:
        tenses.insert(0, _PERFECT[words[0]])
    whom = _FOR_WHOM.search(plain)
    return Manner(
        form,
        tenses[0] if tenses else "",
        frozenset(tenses),
        _found(words, _MODES)
        | ({"necessary"} if re.search(r"\b(?:have|has|had) to\b", plain, re.IGNORECASE) else set()),
        _found(words, _DOINGS),
        tuple(dict.fromkeys(_PERSONS[word] for word in words if word in _PERSONS)),
        whom.group(1).lower() if whom else "",
        ""
        if "you" in known or {"my", "your"} <= known
        else "mine"
        if "my" in known
        else "yours"
        if "your" in known
        else "",
        bool(written & _JUDGING),
        bool(written & _ADVISING),
        "who" in known,
        bool(words) and words[0] in {"is", "are", "was", "were"},
        bool(words) and words[0] in {"what", "which", "whose", "how"},
    )


def clash(one: Manner, other: Manner) -> str:
    """What of the two does not go together; empty: nothing."""
    looks = [_by_form, _by_time, _by_person, _by_doing]
    if "how to" not in {one.form, other.form}:  # which asks for any good way, whoever goes it
        looks += [_by_owner, _by_mode, _by_judgement]
    return next((found for look in looks if (found := look(one, other))), "")


def _by_form(one: Manner, other: Manner) -> str:
    forms = {one.form, other.form}
    is_other = len(forms) == 2 and "" not in forms and forms != {"what", "command"}  # "weather in Oslo" asks what it is
    if is_other or ("yes or no" in forms and (one.is_open or other.is_open)):
        return f"form: {one.form or 'open'} / {other.form or 'open'}"
    return ""


def _by_time(one: Manner, other: Manner) -> str:
    if not one.tense or not other.tense or one.tense in other.tenses or other.tense in one.tenses:
        return ""
    is_loose = {one.tense, other.tense} == {"present", "future"}  # how long will it take, how long does it take
    return "" if is_loose and not one.is_who and not one.form == other.form == "yes or no" else "tense"


def _by_person(one: Manner, other: Manner) -> str:
    mine, theirs = set(one.persons), set(other.persons)
    is_swapped = mine == theirs and one.persons != other.persons  # does she like him, does he like her
    is_another = not mine & theirs and {"he", "she"} <= mine | theirs
    return "person" if is_swapped or is_another or one.for_whom != other.for_whom else ""


def _by_owner(one: Manner, other: Manner) -> str:
    is_another = {one.owner, other.owner} == {"mine", "yours"} and "command" not in {one.form, other.form}
    return "person" if is_another else ""


def _by_mode(one: Manner, other: Manner) -> str:
    if one.modes and other.modes:
        return "" if one.modes & other.modes else "mode"
    is_strict = one.form == other.form and one.form in {"yes or no", "what"}
    return "mode" if is_strict and "necessary" in one.modes | other.modes else ""


def _by_doing(one: Manner, other: Manner) -> str:
    if one.doings and other.doings:
        return "" if one.doings & other.doings else "what is done"
    is_strict = one.form == other.form and one.form in {"yes or no", "what", "command"}
    return "what is done" if is_strict and (one.doings | other.doings) - {"get"} else ""


def _by_judgement(one: Manner, other: Manner) -> str:
    is_another = one.is_judging != other.is_judging and not (one.is_advising and other.is_advising)
    return "judgement" if is_another and one.form == other.form else ""


def _found(words: list[str], table: dict[str, str]) -> frozenset[str]:
    return frozenset(table[word] for word in words if word in table)


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _without_request(text: str) -> str:
    begun = _REQUEST.match(text.strip())
    return text.strip()[begun.end() if begun else 0 :]


def _form_of(text: str) -> Form:
    begun = _REQUEST.match(text)
    bare = _without_request(text)
    if _HOW_TO.search(bare):
        return "how to"
    if _YES_OR_NO.match(bare):
        return "yes or no"
    if _DEFINITION.match(bare):
        return "what"
    is_open = _ASKS.search(bare) or (begun and "help me" in begun.group().lower())
    return "" if is_open else "command"
