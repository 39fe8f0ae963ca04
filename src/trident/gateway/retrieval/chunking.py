"""A text cut into pieces that an embedding model reads whole: on paragraphs and sentences, with some overlap.

Everything is a span of the text, so a piece is the text's own words and knows its place. How many tokens a piece has is
estimated here; whoever embeds it learns the number and halves what was too long. Takes linear time of any text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_FILL = 0.8  # of the tokens that may be: estimates err
_OVERLAP = 0.125  # of a piece: what the next one begins with again
_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")
_FIRST_WIDE = "\u2e80"  # scripts without spaces, where a character is about a token
_PAGE_END = re.compile(r"\f")
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*|\f\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n(?=\s*(?:[-*+|>] ?|\d+[.)] ))")
_LINE_END = re.compile(r"\n")
_SPACE = re.compile(r"\s+")
_HEADING = re.compile(r"#{1,6}[^\S\n]+(?=\S)")
_FENCE = re.compile(r"[^\S\n]*(?:```|~~~)")
_MAX_HEADING_CHARS = 120


class Span(NamedTuple):
    """Characters of the text, with the estimate of its tokens."""

    start: int
    end: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece, and where it stands."""

    start: int
    end: int
    text: str
    place: str


class Chunker:
    """Of one text. `max_tokens`: that the model reads of a piece."""

    def __init__(self, text: str, max_tokens: int, *, is_markdown: bool) -> None:
        self._text = text
        self._budget = max(1, int(max_tokens * _FILL))
        self._lines = [0, *(found.end() for found in _LINE_END.finditer(text))]
        self._pages = [found.end() for found in _PAGE_END.finditer(text)]
        headings = self._find_headings() if is_markdown else []
        self._sections = [start for start, _ in headings]  # where each begins
        self._titles = [title for _, title in headings]

    def chunks(self) -> list[Chunk]:
        """All of the text, in order; white space between pieces is left out."""
        found: list[Chunk] = []
        current: list[Span] = []
        tokens = 0  # of `current`; counted anew each time would be quadratic
        for paragraph in self._paragraphs():
            begins_section = self._begins_section(paragraph) and tokens >= self._budget / 4
            if begins_section or (tokens + paragraph.tokens > self._budget and tokens >= self._budget / 2):
                found.append(self._chunk(current))
                current = [] if begins_section else self._overlap(current)
                tokens = _sum(current)
            for sentence in self._pieces(paragraph):
                if current and tokens + sentence.tokens > self._budget:
                    found.append(self._chunk(current))
                    current = self._overlap(current, sentence)
                    tokens = _sum(current)
                current.append(sentence)
                tokens += sentence.tokens
        return [*found, self._chunk(current)] if current else found

    def halves(self, chunk: Chunk) -> list[Chunk]:
        """Two pieces in its place, cut where a word ends near its middle; a single character stays what it is."""
        start, end, _ = self._stripped(Span(chunk.start, chunk.end, 0))  # cut before its first word it would stay whole
        if end - start < 2:
            return [chunk]
        middle = (start + end) // 2
        spaces = [found.start() for found in _SPACE.finditer(self._text, start + 1, end - 1)]
        cut = min(spaces, key=lambda place: abs(place - middle), default=middle)
        spans = (Span(start, cut, 0), Span(cut, end, 0))
        return [self._chunk([span]) for span in map(self._stripped, spans) if span.end > span.start]

    def _paragraphs(self) -> Iterable[Span]:
        """A heading begins one too."""
        for span in self._cut(0, len(self._text), _PARAGRAPH_END):
            first, last = bisect_right(self._sections, span.start), bisect_left(self._sections, span.end)
            inside = self._sections[first:last]
            for start, end in zip([span.start, *inside], [*inside, span.end], strict=True):
                stripped = self._stripped(Span(start, end, 0))
                if stripped.end > stripped.start:
                    yield self._measured(stripped)

    def _pieces(self, span: Span, ends: tuple[re.Pattern[str], ...] = (_SENTENCE_END, _LINE_END, _SPACE)) -> list[Span]:
        """Sentences; of one that is too long the lines, of such a line the words, of such a word so many characters."""
        if not ends:
            step = self._budget
            starts = range(span.start, span.end, step)
            return [self._measured(Span(start, min(start + step, span.end), 0)) for start in starts]
        pieces: list[Span] = []
        for piece in self._cut(span.start, span.end, ends[0]):
            measured = self._measured(piece)
            pieces += [measured] if measured.tokens <= self._budget else self._pieces(measured, ends[1:])
        return pieces

    def _cut(self, start: int, end: int, separator: re.Pattern[str]) -> Iterable[Span]:
        at = start
        for found in separator.finditer(self._text, start, end):
            if found.start() > at:
                yield Span(at, found.start(), 0)
            at = max(at, found.end())
        if end > at:
            yield Span(at, end, 0)

    def _measured(self, span: Span) -> Span:
        return Span(span.start, span.end, estimated_tokens(self._text[span.start : span.end]))

    def _stripped(self, span: Span) -> Span:
        text = self._text[span.start : span.end]
        start = span.start + len(text) - len(text.lstrip())
        return Span(start, max(start, span.start + len(text.rstrip())), span.tokens)

    def _overlap(self, current: list[Span], following: Span | None = None) -> list[Span]:
        """The last sentences, as many as are short enough and leave room for the one that follows."""
        room = self._budget * _OVERLAP
        if following is not None:
            room = min(room, self._budget - following.tokens)
        kept: list[Span] = []
        for span in reversed(current[1:]):  # never all of it: the next piece would say nothing new
            room -= span.tokens
            if room < 0:
                break
            kept.insert(0, span)
        return kept

    def _begins_section(self, span: Span) -> bool:
        number = bisect_left(self._sections, span.start)
        return number < len(self._sections) and self._sections[number] == span.start

    def _chunk(self, spans: list[Span]) -> Chunk:
        start, end = spans[0].start, spans[-1].end
        return Chunk(start, end, self._text[start:end], self._place(start, end))

    def _place(self, start: int, end: int) -> str:
        if self._pages:
            return _range("page", *(bisect_right(self._pages, place) + 1 for place in (start, end - 1)))
        lines = _range("line", *(bisect_right(self._lines, place) for place in (start, end - 1)))
        number = bisect_right(self._sections, start)
        return f"{lines}, {self._titles[number - 1]}" if number else lines

    def _find_headings(self) -> list[tuple[int, str]]:
        """(where it begins, its words); what stands in a fenced block is none."""
        found: list[tuple[int, str]] = []
        is_fenced = False
        for start, end in zip(self._lines, [*self._lines[1:], len(self._text)], strict=True):
            if _FENCE.match(self._text, start, end):
                is_fenced = not is_fenced
            elif not is_fenced and (heading := _HEADING.match(self._text, start, end)):
                title = self._text[heading.end() : min(end, heading.end() + _MAX_HEADING_CHARS)]
                found.append((start, title.strip().rstrip("#").strip()))
        return found


def estimated_tokens(text: str) -> int:
    """About how many word pieces a model of English makes of it."""
    return sum(map(_pieces_of, _WORD.findall(text)))


def _pieces_of(word: str) -> int:
    if word[0] >= _FIRST_WIDE:
        return len(word)
    if not word.isascii() or word[0].isdigit():
        return -(-len(word) // 2)
    return -(-len(word) // 7)


def _sum(spans: list[Span]) -> int:
    return sum(span.tokens for span in spans)


def _range(what: str, first: int, last: int) -> str:
    return f"{what} {first}" if first == last else f"{what}s {first}-{last}"
