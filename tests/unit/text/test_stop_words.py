"""Promises of the stop words: no part of one is seen, all before it is, and the end is noticed."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text import tokenizers_under_test as under_test
from trident.text.detokenizer import Detokenizer
from trident.text.stop_words import StopWords
from trident.text.token_pieces import read_pieces

TOKENIZER = under_test.byte_level_bpe()
PIECES = read_pieces(json.loads(TOKENIZER.to_str()))
DETOKENIZER = Detokenizer(PIECES)
LETTERS = st.text(st.sampled_from("abé 東\n."), max_size=25)


def shown(ids, strings=(), sequences=()) -> tuple[str, bool, list[str]]:
    """Text that leaves, whether a stop word ended it, and what had left after each id."""
    stop_words = StopWords(PIECES, [string.encode() for string in strings], sequences)
    text, context, seen = "", [], []
    for token_id in ids:
        released = stop_words.feed(token_id)
        text += DETOKENIZER.delta(context, released.token_ids, released.is_match, released.trim_bytes)
        context = DETOKENIZER.window([*context, *released.token_ids])
        seen.append(text)
        if released.is_match:
            return text, True, seen
    text += DETOKENIZER.delta(context, stop_words.flush(), is_last=True)
    return text, False, seen


@given(text=LETTERS, strings=st.lists(LETTERS.filter(bool), min_size=1, max_size=3))
@many(4)
def test_what_is_shown_is_the_text_before_the_first_stop_string(text, strings):
    ids = TOKENIZER.encode(text).ids
    found = [place for string in strings if (place := text.find(string)) >= 0]
    result, is_match, seen = shown(ids, strings)
    assert is_match == bool(found)
    # The generation ends with the id that completes the first stop string to be completed; of those that it
    # completes at once, the one that starts first counts.
    if not found:
        assert result == text
        return
    assert text.startswith(result)
    assert not any(string in result for string in strings)
    assert any(text[len(result) :].startswith(string) for string in strings)
    assert all(result.startswith(part) for part in seen)


def test_a_stop_string_that_starts_inside_a_token_is_cut_there():
    ids = TOKENIZER.encode("The quick brown fox").ids
    assert shown(ids, ["ick br"])[:2] == ("The qu", True)


def test_a_stop_string_that_spans_tokens_is_held_back_and_then_released_when_it_does_not_come():
    ids = TOKENIZER.encode("honey, said nobody").ids
    assert shown(ids, ["honey, said the teacher"])[:2] == ("honey, said nobody", False)


def test_a_special_token_stops_by_its_id():
    special = TOKENIZER.token_to_id("<|tool|>")
    ids = [*TOKENIZER.encode("Honey").ids, special, *TOKENIZER.encode(" more").ids]
    assert shown(ids, sequences=[(special,)])[:2] == ("Honey", True)


def test_an_id_sequence_is_held_back_until_it_is_complete():
    ids = TOKENIZER.encode("abcdef").ids
    before, sequence = ids[:-2], tuple(ids[-2:])
    text, is_match, _ = shown(ids, sequences=[sequence])
    assert (text, is_match) == (TOKENIZER.decode(before), True)
