"""A text is cut where a reader would cut it, nothing of it is lost, and every piece knows where it stands."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trident.gateway.retrieval.chunking import Chunk, Chunker, estimated_tokens


def chunks(text, max_tokens=50, is_markdown=False):
    return Chunker(text, max_tokens, is_markdown=is_markdown).chunks()


def sentences(number, word="bees"):
    return " ".join(f"Sentence {each} is about {word}." for each in range(number))


def test_a_short_text_is_one_piece_with_its_lines():
    (chunk,) = chunks("\n\nBees make honey.\nWasps make paper.\n\n")
    assert (chunk.text, chunk.place) == ("Bees make honey.\nWasps make paper.", "lines 3-4")


def test_paragraphs_stay_whole_where_they_fit():
    paragraphs = [sentences(4, word) for word in ("bees", "wasps", "ants")]
    assert [chunk.text.split("\n\n")[-1] for chunk in chunks("\n\n".join(paragraphs))] == paragraphs


def test_a_long_paragraph_is_cut_between_sentences_and_the_next_piece_begins_with_the_last_sentence_again():
    found = chunks(sentences(60), max_tokens=80)
    assert len(found) > 3
    assert all(chunk.text.startswith("Sentence") and chunk.text.endswith("bees.") for chunk in found)
    for before, after in itertools.pairwise(found):
        last = before.text.rsplit("Sentence", 1)[1]
        assert after.text.startswith(f"Sentence{last}")


def test_a_heading_begins_a_piece_and_is_where_it_stands():
    text = f"# Bees\n\n{sentences(4)}\n\n## Their honey ##\n\n{sentences(4, 'honey')}\n"
    first, second = chunks(text, max_tokens=100, is_markdown=True)
    assert (first.place, second.place) == ("lines 1-3, Bees", "lines 5-7, Their honey")
    assert second.text.startswith("## Their honey ##")


def test_what_looks_like_a_heading_in_code_or_in_plain_text_is_none():
    text = f"# Title\n\n```\n# a comment\n```\n\n{sentences(3)}\n\n{sentences(3)}"
    assert {chunk.place.partition(", ")[2] for chunk in chunks(text, is_markdown=True)} == {"Title"}
    assert all("," not in chunk.place for chunk in chunks(text))


def test_a_form_feed_begins_a_page():
    found = chunks(f"{sentences(6)}\f{sentences(6)}\f{sentences(6)}")
    assert found[0].place == "page 1"
    assert found[-1].place == "page 3"


def test_words_without_sentences_and_characters_without_words_are_cut_too():
    for text in ("word " * 1000, "x" * 100_000, "蜜" * 1000, "line\n" * 1000):
        found = chunks(text)
        assert len(found) > 1
        assert all(estimated_tokens(chunk.text) <= 50 for chunk in found)


@given(st.text(st.sampled_from("ab.! \n\f#é蜜😀`-1"), max_size=400), st.booleans())
def test_every_word_is_in_a_piece_in_its_order(text, is_markdown):
    found = chunks(text, max_tokens=16, is_markdown=is_markdown)
    covered = set()
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        covered.update(range(chunk.start, chunk.end))
    assert all(place in covered for place, char in enumerate(text) if not char.isspace())
    assert [chunk.start for chunk in found] == sorted(chunk.start for chunk in found)


def test_a_piece_is_halved_between_words_and_nothing_is_lost():
    chunker = Chunker("one two three four", 50, is_markdown=False)
    (chunk,) = chunker.chunks()
    assert [half.text for half in chunker.halves(chunk)] == ["one two", "three four"]
    chunker = Chunker("x" * 9, 50, is_markdown=False)
    assert [half.text for half in chunker.halves(chunker.chunks()[0])] == ["xxxx", "xxxxx"]


def test_a_piece_that_begins_with_spaces_is_halved_behind_them():
    """Cut before its first word it would stay as long as it is."""
    text = "    " + "x" * 8
    halves = Chunker(text, 50, is_markdown=False).halves(Chunk(0, len(text), text, "line 1"))
    assert [half.text for half in halves] == ["xxxx", "xxxx"]


def test_a_single_character_cannot_be_halved():
    chunker = Chunker("x", 50, is_markdown=False)
    assert chunker.halves(chunker.chunks()[0]) == chunker.chunks()


@pytest.mark.parametrize("text", ["# a\n\n", "\n", " \n", "#", '."', "\f", "word ", "x"])
def test_no_text_takes_quadratic_time(text):
    """What does takes minutes of this one."""
    chunks(text * (60_000 // len(text)), max_tokens=256, is_markdown=True)
