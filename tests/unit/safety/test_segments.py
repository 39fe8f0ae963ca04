"""Promises of the cutting into segments, with a scan that is easy to foresee: it finds <, digits, >."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.safety.cuts import SIZES, pieces_of, texts_of
from trident.safety.held_text import Match
from trident.safety.segments import MAX_RUN_CHARS, MAX_WORD_CHARS, Interest, SegmentStream
from trident.safety.verdict import Action

NUMBER = re.compile(r"<[\d ]+>")
TEXTS = texts_of(
    *("a", "word", "<", ">", "<1>", "<12 3 4>", "12", " ", "  ", "\n", ",", "東", "-", "x" * 90, "x" * 300, "7" * 200),
    *("<" + "8" * 300, "1 " * 80, "y" * 700, "3-" * 300),
)


class Watched:
    """Segments of one text, and how much of it was scanned."""

    def __init__(self) -> None:
        self.num_scanned_chars = 0
        self.stream = SegmentStream(Interest(re.compile(r"[<\d]"), re.compile(r"\W+"), self._scan), Action.REDACT)

    def _scan(self, context: str, segment: str) -> tuple[Match, ...]:
        self.num_scanned_chars += len(segment)
        return tuple(Match(*found.span(), "number") for found in NUMBER.finditer(segment))


@given(text=TEXTS, sizes=SIZES)
@many(3)
def test_what_has_left_depends_on_the_text_and_not_on_its_cuts(text, sizes):
    whole, pieces = Watched().stream, Watched().stream
    out = whole.feed(text)
    assert "".join(pieces.feed(piece) for piece in pieces_of(text, sizes)) == out
    assert pieces.finish() == whole.finish()
    assert pieces.findings == whole.findings


@given(
    before=TEXTS,
    after=TEXTS,
    number=st.integers(1, MAX_WORD_CHARS - 2).map(lambda size: "<" + "5" * size + ">")
    | st.integers(1, MAX_RUN_CHARS // 2 - 4).map(lambda count: "<" + "5 " * count + ">"),
)
@many(3)
def test_a_match_within_the_limits_never_leaves(before, after, number):
    stream = Watched().stream
    text = before.replace("<", "(") + number + "\n" + after.replace("<", "(")
    assert number not in stream.feed(text) + stream.finish()


@given(text=TEXTS)
def test_what_is_held_back_is_bounded(text):
    stream = Watched().stream
    num_in = num_out = 0
    for char in text.replace("<", "("):  # no matches: what goes in comes out
        num_in += 1
        num_out += len(stream.feed(char))
        assert num_in - num_out <= 2 * MAX_WORD_CHARS
    assert num_out + len(stream.finish()) == num_in


def test_ordinary_words_leave_when_they_end():
    stream = Watched().stream
    assert [stream.feed(piece) for piece in ("Ordin", "ary words ", "leave, at", " on", "ce.\n")] == [
        "",
        "Ordinary words ",
        "leave, ",
        "at ",
        "once.\n",
    ]


def test_the_work_is_linear_in_the_text():
    for unit in ("7", "7 ", "<", "x", "x7", "7-", "777 ", " ", "東7", "7" * 255 + " ", "7" * 513 + " "):
        watched = Watched()
        watched.stream.feed(unit * (100_000 // len(unit)))
        watched.stream.finish()
        assert watched.num_scanned_chars <= 3 * 100_000, unit


def test_a_match_that_fills_its_window_is_followed_to_its_end():
    stream = SegmentStream(
        Interest(
            re.compile(r"\d"),
            re.compile(r"-"),
            lambda _context, segment: tuple(Match(*found.span(), "n") for found in re.finditer(r"\d+", segment)),
        ),
        Action.REDACT,
    )
    assert stream.feed("a" * 10 + "1" * 3000 + '"after" it') + stream.finish() == "a" * 10 + '<N>"after" it'
