"""Promises of the number ranges: every decimal inside, and none outside, digit by digit."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from trident.text.grammars.numbers import ANY_INTEGER, ANY_NUMBER, Bound, integers, numbers
from trident.text.grammars.regex import compiled

DECIMALS = st.one_of(
    st.integers(-300, 300).map(Decimal),
    st.integers(-(10**15), 10**15).map(Decimal),
    st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 7)).map(lambda pair: Decimal(pair[0]) / 10 ** pair[1]),
    st.floats(-2, 2).map(lambda value: Decimal(repr(value))),
)
BOUNDS = st.none() | st.builds(Bound, DECIMALS, st.booleans())
STEPS = st.sampled_from(
    [sign * Decimal(step) for step in ("0", "1", "10", "0.1", "0.001", "0.000001") for sign in (1, -1)]
)


def is_inside(value: Decimal, low: Bound | None, high: Bound | None) -> bool:
    above = low is None or value > low.value or (value == low.value and not low.is_open)
    below = high is None or value < high.value or (value == high.value and not high.is_open)
    return above and below


def holds(tree, text: str) -> bool:
    return tree is not None and compiled(tree, "range").fullmatch(text) is not None


def candidates(low: Bound | None, high: Bound | None, drawn: Decimal, step: Decimal) -> list[str]:
    values = [drawn, *(bound.value + step for bound in (low, high) if bound is not None)]
    if low and high:
        values.append(((low.value + high.value) / 2).quantize(Decimal("1e-9")))
    texts = [f"{value:f}" for value in values]
    return [text for text in texts if num_digits(text) <= 15 and not (text.startswith("-") and Decimal(text) == 0)]


def num_digits(text: str) -> int:
    """All that a double has to tell apart, and of a number below 1 all behind the point."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    return len(whole.lstrip("0") + fraction)


@given(low=BOUNDS, high=BOUNDS, drawn=DECIMALS, step=STEPS)
@many(4)
def test_a_range_of_numbers_holds_exactly_its_numbers(low, high, drawn, step):
    tree = numbers(low, high)
    for text in candidates(low, high, drawn, step):
        assert holds(tree, text) == is_inside(Decimal(text), low, high), (low, high, text)


@given(low=BOUNDS, high=BOUNDS, drawn=DECIMALS, step=STEPS)
@many(4)
def test_a_range_of_integers_holds_exactly_its_integers(low, high, drawn, step):
    tree = integers(low, high)
    for text in candidates(low, high, drawn, step):
        whole = str(int(Decimal(text)))
        assert holds(tree, whole) == is_inside(Decimal(whole), low, high), (low, high, whole)


@given(st.floats(-1e17, 1e17, allow_nan=False) | st.integers(-(10**18) + 1, 10**18 - 1))
@many(3)
def test_numbers_without_a_bound_are_those_of_json(value):
    text = json.dumps(value)
    if re.fullmatch(r"-?\d{1,18}(\.\d{1,15})?(e-?\d\d)?", text):
        assert holds(ANY_NUMBER, text)
    assert holds(ANY_INTEGER, text) == isinstance(value, int)


@given(whole=st.integers(0, 10**6), places=st.integers(0, 3), near=st.integers(1, 25), sign=st.sampled_from([1, -1]))
def test_no_number_that_a_reader_would_round_to_an_open_bound(whole, places, near, sign):
    """JSON's readers make doubles of numbers: 99.000000000000005 is 99."""
    value = Decimal(whole).scaleb(-places)
    beside = value + sign * Decimal(1).scaleb(-near)
    bound = Bound(value, is_open=True)
    if beside > 0 and holds(numbers(bound, None) if sign > 0 else numbers(None, bound), f"{beside:f}"):
        assert (float(beside) - float(value)) * sign > 0


def test_what_is_no_json_number_is_in_no_range():
    for text in ("", "-", "01", "-01", "1.", ".5", "+1", "1e", "1e1234", "0x1", "NaN", "1" * 19):
        assert not holds(ANY_NUMBER, text)
        assert not holds(numbers(Bound(Decimal(-5)), None), text)


def test_a_bound_a_breath_below_an_integer_is_not_rounded_to_it():
    assert not holds(integers(Bound(Decimal("-1.2E-177")), None), "-1")
    assert holds(integers(Bound(Decimal("-1.2E-177")), None), "0")


def test_an_empty_range_is_none():
    assert integers(Bound(Decimal("0.1")), Bound(Decimal("0.9"))) is None
    assert numbers(Bound(Decimal(1), is_open=True), Bound(Decimal(1))) is None
    assert numbers(Bound(Decimal(10) ** 30), None) is None
    assert integers(Bound(Decimal(2)), Bound(Decimal(1))) is None


def test_the_case_that_xgrammar_s_own_ranges_miss():
    tree = integers(Bound(Decimal(120)), Bound(Decimal(135)))
    assert [n for n in range(1000) if holds(tree, str(n))] == list(range(120, 136))
