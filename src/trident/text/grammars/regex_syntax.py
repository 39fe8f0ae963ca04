"""The regular expressions that a guide may use, as a tree.

The dialect is what ECMA-262, Python and RE2 agree on: literals, `.`, classes, groups, `|`, quantifiers, the escapes
`\\d \\w \\s` (ASCII) and anchors at both ends. Look-around and back-references no grammar can express. A pattern
stands for whole texts. It knows nothing of grammars and of JSON. A recursive parser is one class, hence long.
"""

from __future__ import annotations

from dataclasses import dataclass

from trident.errors import InvalidRequestError

MAX_REPEATS = 1000  # of one quantifier, as RE2 has it
MAX_DEPTH = 32  # of groups

Ranges = tuple[tuple[int, int], ...]  # code points, first and last of each range, in order, none touching another


@dataclass(frozen=True)
class Chars:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence:
    """One after another; an empty one matches the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """Any one of several."""

    branches: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """`low` to `high` times; `high` None: without end."""

    part: Node
    low: int
    high: int | None


Node = Chars | Sequence | Choice | Repeat

_FIRST_SURROGATE, _LAST_SURROGATE, _LAST = 0xD800, 0xDFFF, 0x10FFFF
_SETS: dict[str, Ranges] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_HEX_DIGITS = {"x": 2, "u": 4}
_LACKING_GROUPS = {
    "=": "look-ahead", "!": "look-ahead", "<=": "look-behind", "<!": "look-behind", "P=": "a back-reference",
    ">": "an atomic group", "#": "a comment",
}  # fmt: skip
_LACKING_ESCAPES = {
    **dict.fromkeys("123456789k", "a back-reference"), **dict.fromkeys("bBAZzG", "a boundary"),
    **dict.fromkeys("pP", "a Unicode class"),
}  # fmt: skip


def union(*sets: Ranges) -> Ranges:
    """All characters of several sets."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(item for ranges in sets for item in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    """Every character that is not in the set. Surrogates are no characters."""
    result, start = [], 0
    for low, high in union(ranges, ((_FIRST_SURROGATE, _LAST_SURROGATE),)):
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    return (*result, (start, _LAST)) if start <= _LAST else tuple(result)


ANY = Chars(complement(((0x0A, 0x0A),)))  # `.`


class _Parser:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str, where: str) -> None:
        self._pattern = pattern
        self._where = where
        self._position = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._choice()
        if self._position < len(self._pattern):
            raise self._error("has a ')' too many")
        return node

    def _error(self, what: str) -> InvalidRequestError:
        return InvalidRequestError(f"{self._where} {what} at character {self._position + 1}")

    def _lacks(self, what: str) -> InvalidRequestError:
        return self._error(f"uses {what}, which is not supported,")

    def _peek(self, text: str) -> bool:
        return self._pattern.startswith(text, self._position)

    def _take(self, text: str) -> bool:
        is_here = self._peek(text)
        if is_here:
            self._position += len(text)
        return is_here

    def _next(self) -> str:
        if self._position >= len(self._pattern):
            raise self._error("ends too early")
        self._position += 1
        return self._pattern[self._position - 1]

    def _choice(self) -> Node:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        if self._depth == 0:
            self._take("^")
        while self._position < len(self._pattern) and not (self._peek("|") or self._peek(")")):
            if self._peek("$") and self._depth == 0 and self._pattern[self._position + 1 :][:1] in ("", "|"):
                self._position += 1
                break
            parts.append(self._quantified())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _quantified(self) -> Node:
        node = self._atom()
        bounds = self._quantifier()
        if bounds is None:
            return node
        low, high = bounds
        self._take("?")  # lazy or greedy: the same texts
        if self._position < len(self._pattern) and self._pattern[self._position] in "*+?{":
            raise self._lacks("a quantifier of a quantifier")
        return Sequence(()) if high == 0 else Repeat(node, low, high)

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in _QUANTIFIERS.items():
            if self._take(sign):
                return bounds
        if not self._take("{"):
            return None
        low = high = self._number()
        if low is None:
            raise self._error("has a '{' without a number (a literal one is '\\{')")
        if self._take(","):
            high = self._number()
        if not self._take("}"):
            raise self._error("lacks a '}'")
        if max(low, high or 0) > MAX_REPEATS or (high is not None and high < low):
            raise self._error(f"repeats {low} to {high} times (0..{MAX_REPEATS}, the lower first)")
        return low, high

    def _number(self) -> int | None:
        start = self._position
        while self._position < len(self._pattern) and self._pattern[self._position] in "0123456789":
            self._position += 1
        digits = self._pattern[start : self._position]
        return min(int(digits[:6]), MAX_REPEATS + 1) if digits else None

    def _atom(self) -> Node:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return Chars(self._class())
        if char == ".":
            return ANY
        if char == "\\":
            return Chars(self._escape())
        if char in "^$":
            self._position -= 1
            raise self._lacks(f"'{char}' within the pattern (only at its ends)")
        if char in "*+?{":
            self._position -= 1
            raise self._error(f"has nothing to repeat before the '{char}'")
        return Chars(((ord(char), ord(char)),))

    def _group(self) -> Node:
        if self._take("?"):
            self._group_kind()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"nests groups deeper than {MAX_DEPTH}")
        node = self._choice()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("lacks a ')'")
        return node

    def _group_kind(self) -> None:
        for sign, what in _LACKING_GROUPS.items():
            if self._peek(sign):
                raise self._lacks(what)
        if self._take("P<") or self._take("<"):
            while not self._take(">"):
                if not (self._next().isalnum() or self._pattern[self._position - 1] == "_"):
                    raise self._error("has a group whose name does not end")
        elif not self._take(":"):
            raise self._lacks("a flag")

    def _escape(self) -> Ranges:
        char = self._next()
        if char in _SETS:
            return _SETS[char]
        if char.lower() in _SETS:
            return complement(_SETS[char.lower()])
        if char in _LACKING_ESCAPES:
            raise self._lacks(_LACKING_ESCAPES[char])
        if char in _HEX_DIGITS:
            digits = self._pattern[self._position : self._position + _HEX_DIGITS[char]]
            if len(digits) < _HEX_DIGITS[char] or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise self._error(f"has a '\\{char}' without its {_HEX_DIGITS[char]} hexadecimal digits")
            self._position += len(digits)
            code = int(digits, 16)
        else:
            if char.isalnum() and char not in _CONTROLS:
                raise self._lacks(f"'\\{char}'")
            code = ord(_CONTROLS.get(char, char))
        if _FIRST_SURROGATE <= code <= _LAST_SURROGATE:
            raise self._lacks("half of a surrogate pair")
        return ((code, code),)

    def _class(self) -> Ranges:
        is_negated = self._take("^")
        ranges: list[Ranges] = []
        while not self._take("]"):
            low = self._class_item()
            if self._peek("-") and self._pattern[self._position + 1 :][:1] not in ("]", ""):
                self._position += 1
                high = self._class_item()
                if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] < low[0][0]:
                    raise self._error("has a range that does not go from a character to a later one")
                ranges.append(((low[0][0], high[0][0]),))
            else:
                ranges.append(low)
        result = complement(union(*ranges)) if is_negated else union(*ranges)
        if not result:
            raise self._error("has a class of no character")
        return result

    def _class_item(self) -> Ranges:
        char = self._next()
        return self._escape() if char == "\\" else ((ord(char), ord(char)),)


def parse_regex(pattern: str, where: str) -> Node:
    """The tree of a pattern; `where` names it in messages.

    Raises:
        InvalidRequestError: it does not parse, or uses what no grammar can express.
    """
    return _Parser(pattern, where).parse()
