"""The file of a batch: checked as a whole, every fault told with its line."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.gateway.openai_api.batch_input import MAX_LINES, check_lines, lines_of

CHAT = "/v1/chat/completions"


def line(custom_id="a", **changes):
    fields = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {"model": "m"}, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode() + b"\n"


def check(*lines, max_line_bytes=1000):
    return check_lines(io.BytesIO(b"".join(lines)), CHAT, max_line_bytes)


def test_a_right_file_is_counted_and_blank_lines_ask_nothing():
    """A byte order mark, and a last line without its end, are no faults."""
    checked = check(b"\xef\xbb\xbf" + line("a"), b"\n", b"  \r\n", line("b").rstrip())
    assert (checked.num_lines, checked.faults) == (2, [])


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        (b"{not json}\n", "invalid_json_line", None),
        (b"[1]\n", "invalid_json_line", None),
        (b'"\xff"\n', "invalid_json_line", None),
        (line(...), "invalid_request", "custom_id"),
        (line(""), "invalid_request", "custom_id"),
        (line("first"), "duplicate_custom_id", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "mismatched_url", "url"),
        (line(body=[1]), "invalid_request", "body"),
        (line(body={"stream": True}), "invalid_request", "body.stream"),
        (line(metod="POST"), "invalid_request", "metod"),
        (line(body={"prompt": "x" * 1000}), "request_too_large", None),
    ],
)
def test_a_wrong_line_is_told_with_its_number(wrong, code, param):
    (fault,) = check(line("first"), wrong, line("last")).faults
    assert (fault["line"], fault["code"], fault["param"]) == (2, code, param)


def test_an_empty_file_is_no_batch():
    assert check(b"\n \n").faults[0]["code"] == "empty_file"


def test_more_lines_than_a_batch_may_have_are_refused():
    lines = b"".join(
        b'{"custom_id":"%d","method":"POST","url":"%b","body":{}}\n' % (n, CHAT.encode()) for n in range(MAX_LINES + 1)
    )
    assert check(lines).faults[0]["code"] == "too_many_tasks"


@given(st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=20), st.integers(1, 50))
def test_every_line_keeps_its_number_whatever_its_neighbours_are(lines, max_line_bytes):
    """A line that is too long does not shift those behind it, and is never held whole."""
    found = dict(lines_of(io.BytesIO(b"\n".join(lines)), max_line_bytes))
    expected = {number: text for number, text in enumerate(lines, 1) if text[: max_line_bytes + 1].strip()}
    if 1 in expected:
        del expected[1]
        found.pop(1, None)  # its byte order mark goes
    assert found.keys() == expected.keys()
    for number, text in found.items():
        assert text.rstrip(b"\n") == expected[number][: max_line_bytes + 1].rstrip(b"\n")
