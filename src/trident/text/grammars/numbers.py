"""JSON numbers between two bounds, as the tree of a regular expression: digit by digit, exactly.

An integer has at most 18 digits and a fraction at most 15, so that neither runs on and every reader holds them; beside
a bound that is outside itself a number has at most 15 digits in all, which is what a double tells apart; a number with
a bound has no exponent. It knows nothing of JSON Schema and of grammars.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trident.text.grammars.regex_syntax import Chars, Choice, Node, Repeat, Sequence

MAX_DIGITS = 18
MAX_FRACTION_DIGITS = 15
_MOST = 10**MAX_DIGITS - 1


@dataclass(frozen=True)
class Bound:
    """One end of a range."""

    value: Decimal
    is_open: bool = False  # the value itself is outside

    def mirrored(self) -> Bound:
        """The same end on the other side of 0."""
        return Bound(-self.value, self.is_open)


def _text(text: str) -> Node:
    return Sequence(tuple(Chars(((ord(char), ord(char)),)) for char in text))


def _digit(low: int = 0, high: int = 9) -> Node:
    return Chars(((ord("0") + low, ord("0") + high),))


def _either(branches: list[Node]) -> Node | None:
    return None if not branches else branches[0] if len(branches) == 1 else Choice(tuple(branches))


def _optional(node: Node) -> Node:
    return Repeat(node, 0, 1)


def _any_digits(low: int, high: int) -> Node:
    return Repeat(_digit(), low, high) if high else Sequence(())


_MINUS = _optional(_text("-"))
_ANY_WHOLE = Choice((_text("0"), Sequence((_digit(1), _any_digits(0, MAX_DIGITS - 1)))))
_ANY_FRACTION = _optional(Sequence((_text("."), _any_digits(1, MAX_FRACTION_DIGITS))))
_SIGN = _optional(Chars(((ord("+"), ord("+")), (ord("-"), ord("-")))))
_ANY_EXPONENT = _optional(Sequence((Chars(((ord("E"), ord("E")), (ord("e"), ord("e")))), _SIGN, _any_digits(1, 2))))

ANY_INTEGER = Sequence((_MINUS, _ANY_WHOLE))
ANY_NUMBER = Sequence((_MINUS, _ANY_WHOLE, _ANY_FRACTION, _ANY_EXPONENT))


def integers(low: Bound | None, high: Bound | None) -> Node | None:
    """Every integer in the range, of at most 18 digits; None when there is none."""
    first = -_MOST if low is None else max(-_MOST, _floor(low.value) + (low.is_open or low.value != _floor(low.value)))
    last = (
        _MOST if high is None else min(_MOST, _floor(high.value) - (high.is_open and high.value == _floor(high.value)))
    )
    branches = [Sequence((_text("-"), part)) for part in _whole(max(1, -last), -first)]
    return _either([*branches, *_whole(max(0, first), last)])


def numbers(low: Bound | None, high: Bound | None) -> Node | None:
    """Every number in the range, written without an exponent; None when there is none."""
    zero = Bound(Decimal(0))
    branches: list[Node] = []
    if low is None or low.value < 0:
        start = zero if high is None or high.value > 0 else high.mirrored()
        branches += [Sequence((_text("-"), part)) for part in _from_zero(start, low and low.mirrored())]
    if high is None or high.value >= 0:
        branches += _from_zero(zero if low is None or low.value < 0 else low, high)
    return _either(branches)


def _floor(value: Decimal) -> int:
    return int(value.to_integral_value("ROUND_FLOOR"))


def _fraction(value: Decimal) -> str:
    """The digits behind the point, of the distance to the next integer below."""
    return f"{value - _floor(value):f}".partition(".")[2].rstrip("0")


def _whole(first: int, last: int) -> list[Node]:
    """The integers from `first` to `last`, both 0 or more."""
    result: list[Node] = []
    for count in range(len(str(first)), len(str(max(last, 0))) + 1):
        low, high = max(first, 0 if count == 1 else 10 ** (count - 1)), min(last, 10**count - 1)
        if low <= high:
            result.append(_same_length(str(low), str(high)))
    return result


def _same_length(low: str, high: str) -> Node:
    """Digit strings of one length from `low` to `high`."""
    rest = len(low) - 1
    if set(low[1:]) <= {"0"} and set(high[1:]) <= {"9"}:
        return Sequence((_digit(int(low[0]), int(high[0])), _any_digits(rest, rest)))
    if low[0] == high[0]:
        return Sequence((_text(low[0]), _same_length(low[1:], high[1:])))
    branches: list[Node] = [
        Sequence((_text(low[0]), _same_length(low[1:], "9" * rest))),
        Sequence((_text(high[0]), _same_length("0" * rest, high[1:]))),
    ]
    if int(high[0]) - int(low[0]) > 1:
        branches.append(Sequence((_digit(int(low[0]) + 1, int(high[0]) - 1), _any_digits(rest, rest))))
    return Choice(tuple(branches))


def _from_zero(low: Bound, high: Bound | None) -> list[Node]:
    """Numbers of 0 or more, from `low` (0 or more) to `high`."""
    first = _floor(low.value)
    last = _MOST if high is None else min(_floor(high.value), _MOST)
    above = (_fraction(low.value), low.is_open)
    below = (_fraction(high.value), high.is_open) if high is not None and last == _floor(high.value) else None
    if below == ("", True):  # nothing of that integer, and of the one before it what a reader tells from it
        last, below = last - 1, None
    ends_open = high is not None and high.is_open
    if first > last:
        return []
    if first == last:
        return _beginning_with(first, above, below, is_open=low.is_open or ends_open)
    ends = _beginning_with(first, above, None, is_open=low.is_open)
    ends += _beginning_with(last, None, below, is_open=ends_open)
    return [*ends, *(Sequence((part, _ANY_FRACTION)) for part in _whole(first + 1, last - 1))]


_End = tuple[str, bool]  # digits behind the point without trailing zeros, and whether that value itself is outside


def _beginning_with(whole: int, low: _End | None, high: _End | None, *, is_open: bool) -> list[Node]:
    """Numbers of this integer part. Beside a value that is outside itself, none that a double would round to it."""
    most = MAX_FRACTION_DIGITS
    if is_open:
        most = max(0, most - (len(str(whole)) if whole else 0))
    return [Sequence((_text(str(whole)), part)) for part in _fractions(low, high, most)]


def _fractions(low: _End | None, high: _End | None, most: int) -> list[Node]:
    """What may follow the integer part: nothing, or a point and up to `most` digits."""
    digits = _digits(low, high, most)
    result: list[Node] = [Sequence(())] if _holds_zero(low, high) else []
    return [*result, Sequence((_text("."), digits))] if digits else result


def _holds_zero(low: _End | None, high: _End | None) -> bool:
    return low in (None, ("", False)) and high != ("", True)


def _digits(low: _End | None, high: _End | None, most: int) -> Node | None:
    """One to `most` digits d with low <= 0.d <= high; None when there are none."""
    low = None if low == ("", False) else low
    if most == 0 or high == ("", True) or (low is not None and high == ("", False)):
        return None
    if low is None and high is None:
        return _any_digits(1, most)
    if high == ("", False):
        return Repeat(_text("0"), 1, most)
    if low == ("", True) and high is None:  # anything but zeros
        some = Sequence((_digit(1), _any_digits(0, most - 1)))
        later = _digits(low, high, most - 1)
        return some if later is None else Choice((some, Sequence((_text("0"), later))))
    return _either([branch for digit in range(10) for branch in _after(digit, low, high, most)])


def _after(digit: int, low: _End | None, high: _End | None, most: int) -> list[Node]:
    """The digit strings of `_digits` that begin with `digit`."""
    if low is not None:
        least = int(low[0][:1] or "0")
        if digit < least:
            return []
        low = (low[0][1:], low[1]) if digit == least else None
    if high is not None:
        greatest = int(high[0][:1] or "0")
        if digit > greatest:
            return []
        high = (high[0][1:], high[1]) if digit == greatest else None
    more = _digits(low, high, most - 1)
    if _holds_zero(low, high):
        return [Sequence((_digit(digit, digit), _optional(more)) if more else (_digit(digit, digit),))]
    return [Sequence((_digit(digit, digit), more))] if more else []
