"""Uploaded forms: the file reaches the disk whole however the body is cut; what is wrong is refused by name."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.errors import InvalidRequestError, RequestTooLargeError
from trident.gateway.openai_api.upload_form import FormReader, safe_name

TYPE = "multipart/form-data; boundary=b0undary"


def part(name, content, filename=None):
    end = f'; filename="{filename}"' if filename is not None else ""
    return f'--b0undary\r\nContent-Disposition: form-data; name="{name}"{end}\r\n\r\n'.encode() + content + b"\r\n"


def body(*parts):
    return b"".join(parts) + b"--b0undary--\r\n"


def read(data, cuts=(), max_file_bytes=1 << 20, content_type=TYPE):
    target = io.BytesIO()
    reader = FormReader(content_type, target, max_file_bytes)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        reader.feed(data[begin:end])
    return reader.form(), target.getvalue()


@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 1000), max_size=8))
def test_every_cut_of_the_body_gives_the_same_file(content, cuts):
    """Also where a cut falls into a boundary, and where the content looks like one."""
    content = content.replace(b"--b0undary", b"--b0undarz")
    data = body(part("purpose", b"batch"), part("file", content, "in.jsonl"))
    form, written = read(data, cuts)
    assert written == content
    assert (form.filename, form.num_bytes, form.fields) == ("in.jsonl", len(content), {"purpose": "batch"})


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("lines.jsonl", "lines.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\secrets\\keys.txt", "keys.txt"),
        ("a\r\nSet-Cookie: x\x00.txt", "aSet-Cookie: x.txt"),
        ("..", "file"),
        ("", "file"),
        ("ü" * 300, "ü" * 100),
        ("\u202egpj.exe", "gpj.exe"),
    ],
)
def test_a_name_keeps_no_folder_and_no_control_character(name, kept):
    assert safe_name(name) == kept


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (body(part("purpose", b"batch")), "file"),
        (body(part("file", b"1", "a"), part("file", b"2", "b")), "file"),
        (body(part("file", b"1", "a"), part("porpoise", b"batch")), "porpoise"),
        (body(part("purpose", b"x" * 300)), "purpose"),
    ],
)
def test_a_form_that_says_too_little_or_too_much_is_refused_by_the_field(data, param):
    with pytest.raises(InvalidRequestError) as refused:
        read(data)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no form at all",
        body(part("file", b"1234", "a"))[:-12],
        b"--b0undary\r\n" + b"x" * 20_000 + b": y\r\n\r\n",
    ],
)
def test_a_form_that_is_broken_or_breaks_off_is_refused(data):
    with pytest.raises(InvalidRequestError):
        read(data)


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b"])
def test_only_a_form_is_taken(content_type):
    with pytest.raises(InvalidRequestError):
        read(b"", content_type=content_type)


def test_a_file_above_the_limit_is_refused_before_it_is_written_whole():
    """And one that is exactly as large as the limit is taken."""
    assert read(body(part("file", b"1234", "a")), max_file_bytes=4)[1] == b"1234"
    with pytest.raises(RequestTooLargeError):
        read(body(part("file", b"12345", "a")), max_file_bytes=4)
