"""`trident rag add`: what a file holds is read here, and what is no text is refused before anything is sent."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from trident.cli import app
from trident.errors import InvalidRequestError, SettingsError, TridentError, UnavailableError

PDF_PAGE = "BT /F1 12 Tf 10 10 Td ({}) Tj ET"


def rag(*arguments):
    """What it prints; raises what it would say in one line."""
    result = CliRunner().invoke(app, ["rag", *arguments])
    if isinstance(result.exception, TridentError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def asked(monkeypatch):
    """The requests that a gateway gets; it answers as one that embeds two passages of anything."""
    requests = []

    def answer(request):
        requests.append((request.method, request.url.raw_path.decode(), json.loads(request.content or b"null")))
        if "away" in str(request.url):
            return httpx.Response(503, json={"error": {"message": "no server can answer now"}})
        if "page" in str(request.url):
            return httpx.Response(200, text="<html>")
        if "missing" in str(request.url):
            return httpx.Response(404, json={"error": {"message": "there is no collection 'missing'"}})
        return httpx.Response(200, json={"name": "x", "passages": 2, "embedded": 2, "data": []})

    client = httpx.Client
    monkeypatch.setattr(
        httpx, "Client", lambda **_: client(transport=httpx.MockTransport(answer), base_url="http://gateway")
    )
    return requests


def write_pdf(path, *pages):
    """As small as a PDF file can be."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = PDF_PAGE.format(text)
        resources = "/Resources << /Font << /F1 3 0 R >> >>"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] /Contents {5 + 2 * number} 0 R {resources} >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    data, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    data += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    ).encode()
    path.write_bytes(data)


def test_files_are_put_in_by_their_names(tmp_path, asked):
    (tmp_path / "a b.md").write_text("Bees.")
    (tmp_path / "c.txt").write_text("Wasps.")
    told = rag("add", "insects", str(tmp_path / "a b.md"), str(tmp_path / "c.txt"))
    assert told.splitlines() == ["a b.md: 2 passages, 2 embedded now", "c.txt: 2 passages, 2 embedded now"]
    assert asked == [
        ("PUT", "/v1/collections/insects/documents/a%20b.md", {"text": "Bees."}),
        ("PUT", "/v1/collections/insects/documents/c.txt", {"text": "Wasps."}),
    ]


def test_the_pages_of_a_pdf_file_are_form_feeds_apart(tmp_path, asked):
    pytest.importorskip("pypdf")
    write_pdf(tmp_path / "two.pdf", "Bees make honey.", "Wasps make paper.")
    rag("add", "insects", str(tmp_path / "two.pdf"))
    assert asked[0][2] == {"text": "Bees make honey.\fWasps make paper."}


def test_what_cannot_be_read_is_named_and_nothing_is_sent(tmp_path, asked):
    (tmp_path / "good.md").write_text("Bees.")
    (tmp_path / "latin.txt").write_bytes("Käse".encode("latin-1"))
    for name, complaint in (
        ("latin.txt", "is not UTF-8 text: byte 1 is 0xe4"), ("missing.md", "cannot be read"),
        ("", "cannot be read"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=complaint):
            rag("add", "insects", str(tmp_path / "good.md"), str(tmp_path / name))
    assert asked == []


def test_a_broken_pdf_file_is_named(tmp_path, asked):
    pytest.importorskip("pypdf")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4\nnothing")
    with pytest.raises(SettingsError, match=r"broken\.pdf cannot be read as PDF"):
        rag("add", "insects", str(tmp_path / "broken.pdf"))
    assert asked == []


@pytest.mark.parametrize("failure", [LookupError("no page tree"), AttributeError("'NullObject'")])
def test_whatever_pypdf_fails_with_is_one_line(tmp_path, asked, monkeypatch, failure):
    """It promises no kind: an encrypted file without its library, a tree that is none."""
    pypdf = pytest.importorskip("pypdf")

    def fail(path):
        raise failure

    monkeypatch.setattr(pypdf, "PdfReader", fail)
    (tmp_path / "odd.pdf").write_bytes(b"%PDF-1.4\n")
    with pytest.raises(SettingsError, match=r"odd\.pdf cannot be read as PDF"):
        rag("add", "insects", str(tmp_path / "odd.pdf"))


def test_two_files_of_one_name_are_not_one_document(tmp_path, asked):
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "a.md", tmp_path / "x" / "a.md"):
        path.write_text("Bees.")
    with pytest.raises(SettingsError, match=r"two files are called a\.md"):
        rag("add", "insects", str(tmp_path / "a.md"), str(tmp_path / "x" / "a.md"))
    assert asked == []


def test_a_whole_collection_is_removed_only_when_that_is_said(asked):
    for arguments in ([], ["a.md", "--all"]):
        with pytest.raises(SettingsError, match="give --all for the collection"):
            rag("remove", "insects", *arguments)
    rag("remove", "insects", "a.md")
    rag("remove", "insects", "--all")
    assert [each[:2] for each in asked] == [
        ("DELETE", "/v1/collections/insects/documents/a.md"), ("DELETE", "/v1/collections/insects"),
    ]  # fmt: skip


def test_the_gateway_s_refusal_is_one_line(asked):
    with pytest.raises(InvalidRequestError, match="404: there is no collection 'missing'"):
        rag("search", "missing", "honey")
    with pytest.raises(UnavailableError, match="503: no server can answer now"):
        rag("search", "away", "honey")
    with pytest.raises(UnavailableError, match="is it a gateway"):
        rag("list", "page")


def test_where_no_gateway_is_that_is_said():
    with pytest.raises(UnavailableError, match="is `trident gateway` running there"):
        rag("list", "--url", "127.0.0.1:1")
