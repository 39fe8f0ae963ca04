"""From token ids to text, whole or in a stream, without state between two calls.

A streamed response brings its new ids and a window of the ids before them. The window is there for two
questions only: which bytes of an unfinished UTF-8 character still wait, and whether any text came before
(see token_pieces.py). Both are answered exactly by the last `WINDOW_TOKENS` ids that have bytes, because a
character has at most four. So, for every tokenizer and every cut, the concatenation of a stream equals the
decoding of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trident.text.token_pieces import TokenPieces

WINDOW_TOKENS = 3  # at most three bytes of a character can wait, and every id in the window has at least one


def incomplete_tail(data: bytes) -> int:
    """How many bytes at the end of `data` (0 to 3) are the start of a UTF-8 character that may still be completed.

    Follows the table of well-formed sequences (Unicode 16, table 3-7): a lead byte never continues another
    character, so looking back three bytes decides it, whatever comes before.
    """
    for length in range(1, min(3, len(data)) + 1):
        lead = data[-length]
        if lead & 0b1100_0000 != 0b1000_0000:  # not a continuation byte
            try:
                data[-length:].decode("utf-8")
            except UnicodeDecodeError as exc:
                return length if exc.reason == "unexpected end of data" else 0
            return 0
    return 0


def _continued_head(data: bytes) -> int:
    """How many bytes at the start of `data` (0 to 3) can only be the rest of a character that began before it."""
    head = data[:3]
    return len(head) - len(head.lstrip(bytes(range(0x80, 0xC0))))


class Detokenizer:
    """Decodes token ids of one tokenizer. Immutable, so any thread may use it."""

    def __init__(self, pieces: TokenPieces) -> None:
        self.pieces = pieces
        self._inner = pieces.inner
        self._first = pieces.first
        self._size = len(pieces.inner)

    def window(self, token_ids: Sequence[int]) -> list[int]:
        """The ids that a later `delta` needs to know of those before it: the last ones that have text, in order."""
        kept: list[int] = []
        for token_id in reversed(token_ids):
            if 0 <= token_id < self._size and self._inner[token_id]:
                kept.append(token_id)
                if len(kept) == WINDOW_TOKENS:
                    break
        kept.reverse()
        return kept

    def delta(self, context_ids: Sequence[int], new_ids: Iterable[int], is_last: bool, trim_bytes: int = 0) -> str:
        """The text that `new_ids` add after `context_ids`.

        Args:
            context_ids: `window()` of all the ids before; empty at the start.
            new_ids: ids of this response.
            is_last: nothing follows, so bytes of an unfinished character leave as U+FFFD.
            trim_bytes: bytes at the end that belong to a stop word and never leave.
        """
        before = b"".join([self._inner[token_id] for token_id in context_ids])
        waiting = before[len(before) - incomplete_tail(before) :]
        data = waiting + self._join(new_ids, is_start=not context_ids)
        if trim_bytes:
            data = data[:-trim_bytes]
        if not is_last:
            data = data[: len(data) - incomplete_tail(data)]
        return data.decode("utf-8", "replace")

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of a whole sequence."""
        return self.delta((), token_ids, is_last=True)

    def lone(self, token_ids: Sequence[int]) -> str:
        """The text of ids of which nobody says what came before: a response of NVIDIA's C++ backend.

        They are read as the middle of a text, so that no space is lost between responses, unless a special id (the BOS
        of an echoed prompt) begins them. A character that is cut between two responses leaves one U+FFFD, at the end
        of the first; the bytes at the start of the second are left out.
        """
        is_start = bool(token_ids) and token_ids[0] in self.pieces.special
        data = self._join(token_ids, is_start)
        if not is_start:
            data = data[_continued_head(data) :]
        return data.decode("utf-8", "replace")

    def token_bytes(self, token_ids: Iterable[int], is_start: bool) -> list[bytes]:
        """The bytes that each id adds to a text; at the start of one, the first that has any adds no space."""
        pieces = []
        for token_id in token_ids:
            piece = self._inner[token_id] if 0 <= token_id < self._size else b""
            if is_start and piece:
                piece, is_start = self._first[token_id], False
            pieces.append(piece)
        return pieces

    def _join(self, token_ids: Iterable[int], is_start: bool) -> bytes:
        return b"".join(self.token_bytes(token_ids, is_start))
