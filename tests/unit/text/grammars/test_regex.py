"""Promises of the regular expressions: they mean what Python's mean, and what no grammar can express is refused."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.grammars.derivations import Grammar
from trident.errors import InvalidRequestError
from trident.text.grammars.regex import compiled, grammar_of
from trident.text.grammars.regex_syntax import parse_regex
from trident.text.grammars.rules import GrammarRules

ATOMS = ["a", "b", "é", "\\n", ".", "\\d", "\\w", "\\s", "\\W", "[a-c]", "[^ab]", "[\\d_-]", "\\.", "\\x41", "\\u00e9"]
PATTERNS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "+?", "?", "{2}", "{1,2}", "{1,}"])).map(lambda p: f"({p[0]}){p[1]}"),
    ),
    max_leaves=6,
)


def matches(pattern: str, text: str) -> bool:
    return compiled(parse_regex(pattern, "the regex"), "the regex").fullmatch(text) is not None


def grammar(pattern: str, *, is_in_json: bool = False) -> str:
    rules = GrammarRules()
    return rules.grammar(grammar_of(parse_regex(pattern, "the regex"), rules, is_in_json=is_in_json))


@given(pattern=PATTERNS, text=st.text(st.sampled_from("abcé 1_-.A\n"), max_size=8))
@many(3)
def test_a_pattern_matches_what_python_s_own_engine_matches(pattern, text):
    assert matches(pattern, text) == (re.fullmatch(pattern, text, re.ASCII) is not None)


@given(pattern=PATTERNS, seed=st.integers(0, 1000))
@many(3)
def test_every_text_of_the_grammar_matches_the_pattern(pattern, seed):
    assert matches(pattern, Grammar(grammar(pattern)).derive(random.Random(seed)))


@given(pattern=PATTERNS, seed=st.integers(0, 1000))
@many(3)
def test_in_a_json_string_nothing_stands_that_json_escapes(pattern, seed):
    text = Grammar(grammar(pattern, is_in_json=True)).derive(random.Random(seed))
    assert not re.search(r'[\x00-\x1f]|(?<!\\)"', text)


@pytest.mark.parametrize(
    ("pattern", "goods", "bads"),
    [
        ("^ab$", ["ab"], ["xab", "ab\n"]),
        ("^a|b$", ["a", "b"], ["ax", "xb"]),
        ("", [""], ["a"]),
        ("(|a)b", ["b", "ab"], ["a"]),
        (r"(?P<year>\d{4})-(?<month>\d\d)", ["2024-11"], ["24-11"]),
        (r"[\]\[^x-]+", ["]-[^x"], ["a"]),
        (r"[^]", ["\n", "a"], ["", "ab"]),
        ("a{0}b", ["b"], ["ab"]),
        (r"\s", ["\t", " "], ["\u00a0", "\v"]),
        (".", ["é", "🙂"], ["\n", ""]),
    ],
)
def test_corners_of_the_dialect(pattern, goods, bads):
    assert [text for text in goods if not matches(pattern, text)] == []
    assert [text for text in bads if matches(pattern, text)] == []


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("a(?=b)", "uses look-ahead, which is not supported, at character 4"),
        ("a(?!b)", "look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        (r"(a)\1", "a back-reference"),
        (r"(?P<a>x)(?P=a)", "a back-reference"),
        (r"\k<a>", "a back-reference"),
        (r"\bword\b", "a boundary"),
        (r"\p{L}", "a Unicode class"),
        ("(?i)a", "a flag"),
        ("(?>a)", "an atomic group"),
        ("a++", "a quantifier of a quantifier"),
        ("a{2}{3}", "a quantifier of a quantifier"),
        ("a^b", "'^' within the pattern (only at its ends), which is not supported, at character 2"),
        ("(^a)", "'^' within the pattern"),
        ("(a", "lacks a ')'"),
        ("a)", "has a ')' too many at character 2"),
        ("[a", "ends too early"),
        ("a\\", "ends too early"),
        ("*a", "has nothing to repeat before the '*'"),
        ("a{", "has a '{' without a number"),
        ("a{2,1}", "repeats 2 to 1 times"),
        ("a{1,1001}", "(0..1000, the lower first)"),
        ("a{99999999999999999999}", "(0..1000, the lower first)"),
        ("[z-a]", "does not go from a character to a later one"),
        (r"[\d-z]", "does not go from a character to a later one"),
        (r"\xZZ", "without its 2 hexadecimal digits"),
        (r"\ud800", "half of a surrogate pair"),
        ("[]-]", "a class of no character"),
        (r"\q", r"uses '\q'"),
        ("(" * 33 + ")" * 33, "nests groups deeper than 32"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name_and_place(pattern, complaint):
    with pytest.raises(InvalidRequestError) as caught:
        parse_regex(pattern, "the regex")
    assert complaint in caught.value.message
    assert "the regex" in caught.value.message


def test_an_automaton_that_is_too_large_is_refused():
    tree = parse_regex("((a{100}b){100}c){100}", "the regex")
    with pytest.raises(InvalidRequestError, match="too many states"):
        compiled(tree, "the regex")


def test_a_match_takes_no_time_where_backtracking_takes_for_ever():
    assert not matches("(a*)*b", "a" * 5000)
    assert matches("(a|a)*", "a" * 5000)


def test_branches_that_begin_alike_are_kept_apart_by_rules_of_their_own():
    """xgrammar merges branches of one rule, and lets through mixtures of them (see rules.py)."""
    lines = grammar("abc|abd|xbc").splitlines()
    branches = [line.partition(" ::= ")[2].split(" | ") for line in lines if " | " in line]
    assert all(word in {line.split()[0] for line in lines} for names in branches for word in names)
