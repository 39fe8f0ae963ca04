"""What is no text is refused by name, with what is wrong."""

import pytest

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident.gateway.retrieval.document_text import check_collection_name, check_document_name, readable


@pytest.mark.parametrize("text", ["", " \n\t\f ", "\ufeff", "--- ... ---"])
def test_a_document_without_words_is_refused(text):
    with pytest.raises(InvalidRequestError, match=r"the document 'a\.md' has no words"):
        readable("a.md", text)


def test_binary_content_is_refused_with_its_place():
    with pytest.raises(InvalidRequestError, match=r"'a\.bin' is no text: character 5 is U\+0000"):
        readable("a.bin", "PKabc\0")


def test_a_pdf_file_is_refused_by_name():
    with pytest.raises(UnsupportedParameterError, match=r"'a\.pdf' is a PDF file; send its text"):
        readable("a.pdf", "%PDF-1.7\n...")


def test_line_ends_marks_of_byte_order_and_composed_letters_are_made_one():
    assert readable("a", "\ufeffCafe\u0301\r\nb\rc") == "Café\nb\nc"


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "-a", "a" * 65, "ä"])
def test_a_collection_s_name_is_simple(name):
    with pytest.raises(InvalidRequestError, match="a collection's name has"):
        check_collection_name(name)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "é" * 128, " " * 255 + "a", "\ud800"])
def test_a_document_s_name_is_printable_and_not_endless(name):
    with pytest.raises(InvalidRequestError, match="a document's name has"):
        check_document_name(name)


def test_good_names_are_taken():
    check_collection_name("hand-book_2.0")
    check_document_name("Kapitel 1/Überblick.md")


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u0f73"])  # the second are marks only when taken apart
def test_letters_that_drown_in_marks_are_refused_before_they_are_put_in_order(marks):
    assert readable("a.md", "a" + marks * 20)
    with pytest.raises(InvalidRequestError, match=r"more than 64 combining marks in a row, up to character 66"):
        readable("a.md", "ab" + marks * 100_000)
