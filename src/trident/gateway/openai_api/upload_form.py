"""The form of an uploaded file (multipart/form-data), read piece by piece: the file goes to disk as it comes.

Nothing of it is held but the small fields beside the file. It knows neither HTTP nor where files are kept.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from trident.errors import InvalidRequestError, RequestTooLargeError

_FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_MAX_FIELD_BYTES = 256
_MAX_HEADER_BYTES = 8192
_MAX_NAME_BYTES = 200


@dataclass(slots=True)
class Form:
    """What a form said. `fields` by name; `num_bytes` of the file."""

    filename: str | None = None  # None: no file came
    num_bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)


class FormReader:
    """Takes the pieces of one body, in order; what belongs to the file goes to `target`. May run in another thread."""

    def __init__(self, content_type: str, target: BinaryIO, max_file_bytes: int) -> None:
        """`content_type`: the request's header.

        Raises:
            InvalidRequestError: it is no multipart form.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequestError("a file is uploaded as multipart/form-data, with the fields 'file' and 'purpose'")
        self._form = Form()
        self._target = target
        self._max_file_bytes = max_file_bytes
        self._header = (b"", b"")  # name and value so far
        self._disposition = b""
        self._name = ""  # of the part that is being read
        self._value = b""
        self._is_file = self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        """The next piece.

        Raises:
            InvalidRequestError: the form is broken, or has a field that is not known.
            RequestTooLargeError: the file is larger than `max_file_bytes`.
        """
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise InvalidRequestError("the form is broken: its parts do not match its boundary") from exc

    def form(self) -> Form:
        """All of it, once the last piece was fed.

        Raises:
            InvalidRequestError: it broke off, or there is no file in it.
        """
        if not self._is_whole:
            raise InvalidRequestError("the form broke off: its last boundary did not come")
        if self._form.filename is None:
            raise InvalidRequestError("'file' is required", param="file", code="missing_required_parameter")
        return self._form

    def _begin_part(self) -> None:
        self._disposition, self._name, self._value, self._is_file = b"", "", b"", False

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header = (_bounded(self._header[0] + data[start:end]), self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], _bounded(self._header[1] + data[start:end]))

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = value
        self._header = (b"", b"")

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._is_file = self._name == "file"
        if self._is_file:
            if self._form.filename is not None:
                raise InvalidRequestError("the form has two files; upload them one by one", param="file")
            self._form.filename = safe_name(options.get(b"filename", b"").decode(errors="replace"))
        elif self._name not in _FIELDS:
            shown = self._name[:64]
            raise InvalidRequestError(f"unknown parameter '{shown}'", param=shown or None, code="unknown_parameter")

    def _content(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _MAX_FIELD_BYTES:
                raise InvalidRequestError(f"'{self._name}' is longer than {_MAX_FIELD_BYTES} bytes", param=self._name)
            return
        self._form.num_bytes += end - start
        if self._form.num_bytes > self._max_file_bytes:
            raise RequestTooLargeError(f"the file is larger than {self._max_file_bytes} bytes", param="file")
        self._target.write(data[start:end])

    def _end_part(self) -> None:
        if not self._is_file:
            self._form.fields[self._name] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self._is_whole = True


def safe_name(name: str) -> str:
    """A file's name without folders, control characters and dots around it; "file" when nothing is left."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    plain = "".join(char for char in last if unicodedata.category(char)[0] != "C").strip(" .")
    return plain.encode(errors="replace")[:_MAX_NAME_BYTES].decode(errors="ignore") or "file"


def _bounded(header: bytes) -> bytes:
    if len(header) > _MAX_HEADER_BYTES:
        raise InvalidRequestError(f"a header of the form is longer than {_MAX_HEADER_BYTES} bytes")
    return header
