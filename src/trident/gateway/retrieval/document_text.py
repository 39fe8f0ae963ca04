"""What a document may be: a text with words in it, under a name that a prompt, a table and an address can hold."""

from __future__ import annotations

import re
import unicodedata

from trident.errors import InvalidRequestError, UnsupportedParameterError

_COLLECTION = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MAX_NAME_BYTES = 255
_MARKDOWN = (".md", ".markdown")
_MAX_MARKS = 64  # on one letter: no language has more than a few, and ordering them takes quadratic time
# What text never holds: control characters but white space.
_BINARY = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")


def check_collection_name(name: str) -> None:
    """Raises InvalidRequestError: not 1 to 64 of a-z, 0-9, '_', '.', '-'."""
    if not _COLLECTION.fullmatch(name):
        raise InvalidRequestError(
            f"a collection's name has 1 to 64 of a-z, 0-9, '_', '.' and '-', got {name[:80]!r}", param="collection"
        )


def check_document_name(name: str) -> None:
    """Raises InvalidRequestError: not 1 to 255 printable bytes."""
    if not name.isprintable() or not name.strip() or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        raise InvalidRequestError(
            f"a document's name has 1 to {_MAX_NAME_BYTES} printable bytes, got {name[:80]!r}", param="document"
        )


def is_markdown(name: str) -> bool:
    """By its name."""
    return name.lower().endswith(_MARKDOWN)


def readable(name: str, text: str) -> str:
    """The text in NFC, its lines ended by U+000A; a form feed begins a page.

    Raises:
        UnsupportedParameterError: it is a PDF file.
        InvalidRequestError: it has no words, or is no text.
    """
    if text.lstrip().startswith("%PDF-"):
        raise UnsupportedParameterError(
            f"the document '{name}' is a PDF file; send its text, or let `trident rag add` read it", param="text"
        )
    if found := _BINARY.search(text):
        raise InvalidRequestError(
            f"the document '{name}' is no text: character {found.start()} is U+{ord(found[0]):04X}", param="text"
        )
    if not any(char.isalnum() for char in text):
        raise InvalidRequestError(f"the document '{name}' has no words", param="text")
    _check_marks(name, text)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", lines)


def _check_marks(name: str, text: str) -> None:
    """Before they are put in order, which holds up the whole process, whatever thread does it."""
    num_marks = 0
    for place, char in enumerate("" if text.isascii() else text):
        num_marks = num_marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if num_marks > _MAX_MARKS:
            raise InvalidRequestError(
                f"the document '{name}' is no text: more than {_MAX_MARKS} combining marks in a row, up to "
                f"character {place}",
                param="text",
            )
