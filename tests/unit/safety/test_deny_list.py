"""Promises of the check `deny_list`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.safety.cuts import SIZES, assert_cuts_change_nothing, complete, needs, output_chain, pieces_of, texts_of
from trident.errors import ContentBlockedError, SettingsError
from trident.safety.chain import InputChain
from trident.safety.policy import Policy

pytestmark = needs("ahocorasick")

WORDS = ["foo", "foo bar", "bar baz q", "a", "aa", "aba", "ба", "c++", "İx"]
TEXTS = texts_of("foo", "FOO", "bar", "baz", " ", "  ", "\n", "q", "a", "b", "A", "c++", "İ", "x", "а", "ба", "́", "_")


def chain(words=WORDS, action="redact", **options):
    return output_chain(deny_list={"mode": "enforce", "action": action, "words": words, **options})


def naive(text: str, words, is_whole_words: bool) -> str:
    """Every entry's every place, found one by one; overlapping ones are cut out as one."""
    spans = []
    for word in words:
        edge = [r"(?<!\w)" if word[0].isalnum() else "", r"(?!\w)" if word[-1].isalnum() else ""]
        pattern = re.escape(word).join(edge) if is_whole_words else re.escape(word)
        spans += [(found.start(), found.start() + len(word)) for found in re.finditer(f"(?={pattern})", text)]
    out, place = "", 0
    for start, end in sorted(spans):
        if start >= place:
            out += text[place:start] + "<REMOVED>"
        place = max(place, end)
    return out + text[place:]


@given(text=st.text("ab c_", max_size=30), sizes=SIZES, is_whole_words=st.booleans())
@many(3)
def test_exactly_the_entries_are_cut_out(text, sizes, is_whole_words):
    words = ["a", "ab", "b c", "a b a", "cc", "bab"]
    assert complete(chain(words, whole_words=is_whole_words), text, sizes) == naive(text, words, is_whole_words)


@given(
    text=TEXTS, sizes=SIZES, action=st.sampled_from(["redact", "block"]), whole=st.booleans(), ignore_case=st.booleans()
)
@many(3)
def test_cuts_change_nothing(text, sizes, action, whole, ignore_case):
    assert_cuts_change_nothing(chain(action=action, whole_words=whole, ignore_case=ignore_case), text, sizes)


@given(before=st.text("xy \n", max_size=20), sizes=SIZES)
def test_after_a_block_nothing_of_the_entry_nor_anything_more_leaves(before, sizes):
    stream = chain(["secret plan"], action="block").start()
    out = "".join(stream.feed(piece) for piece in pieces_of(before + " secret plan of ours", sizes))
    assert stream.is_blocked
    assert out == before + " "
    assert stream.feed("more") + stream.finish() == ""


def test_an_entry_that_ends_the_text_is_found_at_its_end():
    stream = chain(["plan"], action="block").start()
    assert stream.feed("the plan") == "the "
    assert not stream.is_blocked  # it may still become "planet"
    assert stream.finish() == ""
    assert stream.is_blocked


def test_only_what_may_become_an_entry_is_held_back():
    stream = chain(["red fox jumps"]).start()
    assert [stream.feed(piece) for piece in ("the red ", "fox ju", "dges me")] == ["the ", "", "red fox judges me"]


def test_upper_and_lower_case_are_one_only_when_told_so():
    assert complete(chain(["acme"]), "Acme ACME") == "<REMOVED> <REMOVED>"
    assert complete(chain(["acme"], ignore_case=False), "Acme acme") == "Acme <REMOVED>"


def test_parts_of_words_count_only_when_told_so():
    assert complete(chain(["art"]), "party art") == "party <REMOVED>"
    assert complete(chain(["art"], whole_words=False), "party art") == "p<REMOVED>y <REMOVED>"
    assert complete(chain(["東京"], whole_words=False), "私は東京に") == "私は<REMOVED>に"


def test_a_refused_prompt_is_told_the_entry_s_number_and_not_the_entry():
    policy = Policy.model_validate({"deny_list": {"mode": "enforce", "words": ["zebra", "project falcon"]}})
    with pytest.raises(ContentBlockedError, match="entry 2") as caught:
        InputChain(policy).run("tell me of Project Falcon")
    assert "falcon" not in caught.value.message.lower()


def test_a_check_on_one_side_is_not_on_the_other():
    policy = Policy.model_validate({"deny_list": {"mode": "enforce", "words": ["zebra"], "on": ["output"]}})
    assert InputChain(policy).run("zebra").text == "zebra"


@pytest.mark.parametrize(("words", "reason"), [([], "no entries"), (["a" * 257], "257 characters"), ([" "], "entry 1")])
def test_a_list_that_cannot_work_is_refused(words, reason):
    with pytest.raises(SettingsError, match=reason):
        chain(words)


@pytest.mark.parametrize("unit", ["a", "aa ", "ab", "foo ba"])
def test_a_long_hostile_text_is_answered(unit):
    entries = ["a" * 200, "ab" * 100, "foo bar", "aa"]
    assert complete(chain(entries, whole_words=False), unit * (100_000 // len(unit)), [1000])
