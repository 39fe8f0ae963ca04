"""Promises of postprocessing where a response says nothing of what came before it: NVIDIA's C++ backend."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.text.test_postprocessing import DETOKENIZERS, TOKENIZERS, denying, postprocessing
from trident.errors import EngineError
from trident.text.postprocessing import Response

TEXTS = st.lists(st.sampled_from(["The", " bee", "  s", "東京", "🐝", "é", ".", "\n", "ab"]), min_size=1).map("".join)
NAMES = sorted(TOKENIZERS)


def said(name, *responses) -> list[str]:
    model = postprocessing(name)
    return [model.decode(Response([list(ids)], context_ids=None)).texts[0] for ids in responses]


def pieces(ids, cuts) -> list[list[int]]:
    return [ids[start:end] for start, end in pairwise([0, *sorted(cuts), len(ids)])]


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS, data=st.data())
def test_a_stream_says_what_the_whole_says_but_for_one_mark_a_cut_character(name, text, data):
    """However it is cut; no space is lost, and a cut costs at most the one character it goes through."""
    ids = TOKENIZERS[name].encode(text, add_special_tokens=False).ids
    assume(not DETOKENIZERS[name][True].pieces.special.intersection(ids))  # an unknown word looks like a start
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=4))
    (whole,) = said(name, ids)
    parts = said(name, *pieces(ids, cuts))
    joined = "".join(parts)
    assert len(joined) == len(whole)
    differing = [place for place, (one, other) in enumerate(zip(joined, whole, strict=True)) if one != other]
    assert len(differing) <= len(cuts)
    assert all(joined[place] == "\ufffd" for place in differing)


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS)
def test_the_whole_is_the_text_behind_the_prompt(name, text):
    """Only the space that some tokenizers leave out at the start of a text is there."""
    ids = TOKENIZERS[name].encode(text, add_special_tokens=False).ids
    (whole,) = said(name, ids)
    assume(not DETOKENIZERS[name][True].pieces.special.intersection(ids))
    assert whole.lstrip(" ") == DETOKENIZERS[name][True].decode(ids).lstrip(" ")


def test_a_prompt_that_comes_back_begins_without_a_space():
    """Upstream's default: the ids of the prompt, from its BOS on, and the completion."""
    name = next(
        name for name in NAMES if DETOKENIZERS[name][True].pieces.first != DETOKENIZERS[name][True].pieces.inner
    )
    ids = TOKENIZERS[name].encode("The bee", add_special_tokens=False).ids
    bos = min(DETOKENIZERS[name][True].pieces.special)
    assert said(name, [bos, *ids], ids) == ["The bee", " The bee"]


def test_every_beam_is_read_by_itself():
    ids = TOKENIZERS["byte_level_bpe"].encode("bees").ids
    answer = postprocessing().decode(Response([ids, ids[:1], []], context_ids=None))
    assert [len(text) > 0 for text in answer.texts] == [True, True, False]


def test_outputs_that_must_be_checked_are_not_answered_unchecked():
    model = postprocessing(checks=denying("secret", "block"))
    with pytest.raises(EngineError, match="needs Trident's own engine model"):
        model.decode(Response([[5]], context_ids=None))
