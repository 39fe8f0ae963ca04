"""Promises of the detokenizer: for every tokenizer, every sequence of ids and every cut, stream == whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text import tokenizers_under_test as under_test
from trident.errors import ManifestError
from trident.text.detokenizer import WINDOW_TOKENS, Detokenizer, incomplete_tail
from trident.text.token_pieces import read_pieces

TOKENIZERS = {make.__name__: make() for make in under_test.ALL}
DETOKENIZERS = {
    name: Detokenizer(read_pieces(json.loads(tokenizer.to_str()))) for name, tokenizer in TOKENIZERS.items()
}
TEXTS = st.text(st.sampled_from("".join(under_test.CORPUS) + "éß漢字🤖👩‍🌾 \n"), max_size=60)
names = st.sampled_from(sorted(TOKENIZERS))


def streamed(detokenizer: Detokenizer, ids: list[int], cuts: list[int]) -> str:
    """What a client sees when the ids leave in pieces that end at `cuts`, each with the window before it."""
    pieces, start, context = [], 0, []
    for end in [*sorted(cut % (len(ids) + 1) for cut in cuts), len(ids)]:
        pieces.append(detokenizer.delta(context, ids[start:end], is_last=False))
        context = detokenizer.window([*context, *ids[start:end]])
        start = end
    return "".join(pieces) + detokenizer.delta(context, [], is_last=True)


@given(name=names, ids=st.lists(st.integers(0, 800), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=20))
@many(4)
def test_a_stream_equals_the_whole_for_any_ids_and_any_cuts(name, ids, cuts):
    detokenizer = DETOKENIZERS[name]
    assert streamed(detokenizer, ids, cuts) == detokenizer.decode(ids)


@given(name=names, text=TEXTS)
@many(3)
def test_the_whole_equals_the_tokenizers_library_for_encoded_text(name, text):
    ids = TOKENIZERS[name].encode(text, add_special_tokens=False).ids
    assert DETOKENIZERS[name].decode(ids) == TOKENIZERS[name].decode(ids, skip_special_tokens=True)


@given(
    name=st.sampled_from(sorted(set(TOKENIZERS) - {"sentencepiece_bpe_byte_fallback"})),
    ids=st.lists(st.integers(0, 800), max_size=60),
)
@many(3)
def test_the_whole_equals_the_tokenizers_library_for_any_ids(name, ids):
    # The library turns every byte of a run that holds one broken character into U+FFFD; SentencePiece itself, and
    # we, only the broken one. So byte fallback is compared on encoded text alone.
    assert DETOKENIZERS[name].decode(ids) == TOKENIZERS[name].decode(ids, skip_special_tokens=True)


@given(data=st.binary(max_size=12), tail=st.binary(max_size=6))
@many(10)
def test_bytes_held_back_never_change_the_text(data, tail):
    cut = len(data) - incomplete_tail(data)
    whole = (data + tail).decode("utf-8", "replace")
    assert data[:cut].decode("utf-8", "replace") + (data[cut:] + tail).decode("utf-8", "replace") == whole


def test_the_window_is_bounded_and_holds_only_ids_with_text():
    detokenizer = DETOKENIZERS["byte_level_bpe"]
    special = 0
    assert detokenizer.window([5, 6, special, 7, special, 8, special, special]) == [6, 7, 8]
    assert len(detokenizer.window(list(range(3, 300)))) == WINDOW_TOKENS


def test_an_emoji_leaves_whole_though_its_bytes_come_one_by_one():
    tokenizer = TOKENIZERS["byte_level_bpe"]
    ids = [tokenizer.token_to_id(tokenizers_char) for tokenizers_char in "ðŁ¤ĸ"]  # the four bytes of a robot face
    detokenizer = DETOKENIZERS["byte_level_bpe"]
    deltas, context = [], []
    for token_id in ids:
        deltas.append(detokenizer.delta(context, [token_id], is_last=False))
        context = detokenizer.window([*context, token_id])
    assert deltas == ["", "", "", "🤖"]


def test_an_unfinished_character_at_the_end_is_shown_as_one_replacement():
    tokenizer = TOKENIZERS["byte_level_bpe"]
    ids = [tokenizer.token_to_id(char) for char in "ðŁ¤"]
    assert DETOKENIZERS["byte_level_bpe"].decode(ids) == "\ufffd"


def test_a_decoder_that_cannot_be_streamed_is_refused_by_name():
    with pytest.raises(ManifestError, match="CTC"):
        read_pieces({"model": {"vocab": {"a": 0}}, "decoder": {"type": "CTC"}})
