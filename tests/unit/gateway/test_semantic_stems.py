"""The forms of a word have one stem; words that look alike have their own."""

import pytest

from trident.gateway.semantic_stems import Stems, stem


@pytest.mark.parametrize(
    "forms",
    [
        "bake bakes baked baking", "plan plans planned planning", "plane planes", "charge charges charged charging",
        "city cities", "study studies studied studying", "box boxes", "dish dishes", "tomato tomatoes",
        "install installs installed installing installation", "reserve reservation reserved", "manage management",
        "travel travels travelled travelling", "sell sells selling", "open opens opened opening", "safe safely",
        "share shares sharing", "glass", "bus", "rate rates rating", "rat rats", "shoe shoes", "pass passes passing",
    ],
)  # fmt: skip
def test_the_forms_of_a_word_have_one_stem(forms):
    assert len({stem(word) for word in forms.split()}) == 1


@pytest.mark.parametrize(
    "words",
    [
        "plan plane", "car care", "win wine", "part party", "police policy", "story store", "state statement",
        "new news", "custom customs", "arm army arms", "lad lady", "universe university", "count county",
        "cap cape", "tub tube", "rat rate", "bar bare", "copy cope", "mom moment", "depart department", "quit quite",
        "star stare", "bus busy",
        "heroin heroine", "human humane", "past paste", "franc france", "louis louise",
        "cooper cooperation", "install installment", "ear earrings", "fabric fabrication", "german germany",
        "glass glasses",
    ],
)  # fmt: skip
def test_words_that_look_alike_have_their_own(words):
    assert len({stem(word) for word in words.split()}) == len(words.split())


def test_synonyms_have_the_stem_of_what_they_stand_for_and_nothing_else_has():
    stems = Stems({"erase": "delete", "kids": "child"})
    assert stems.of("erasing") == stems.of("deleted") == stems.of("delete")
    assert stems.of("kids") == stems.of("child")
    assert stems.of("era") == stem("era") != stems.of("delete")
