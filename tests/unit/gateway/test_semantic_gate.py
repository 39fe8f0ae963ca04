"""Promises of the gate: what must not share an answer does not, whoever asks first; on the labelled pairs, measured."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trident.bench.semantic_pairs import read_pairs
from trident.gateway.semantic_gate import MAX_CHARS, disagreement, read_meaning

PAIRS = read_pairs()
THRESHOLD = 0.80
TEXTS = st.one_of(st.sampled_from([text for pair in PAIRS for text in (pair.one, pair.other)]), st.text(max_size=200))
CITIES = st.sampled_from(["Paris", "Oslo", "Lagos", "Lima", "Quito", "Hanoi", "Perth", "Turin", "Seoul", "Cairo"])


def shares(pair, threshold=THRESHOLD):
    return pair.cosine >= threshold and not disagreement(pair.one, pair.other)


@pytest.mark.parametrize("half", ["tuned", "held_out"])
def test_on_the_labelled_pairs_no_wrong_answer_is_shared(half):
    """False hits at most 0.5 % and recall above 60 %.

    The written pairs were checked repeatedly during tuning, of both halves: their recall is no estimate from unseen
    data. Of the held-out half 49 of 80 paraphrases share an answer: the 95 % interval is 50 to 72 %.
    """
    pairs = [pair for pair in PAIRS if pair.half == half]
    others = [pair for pair in pairs if not pair.is_paraphrase]
    paraphrases = [pair for pair in pairs if pair.is_paraphrase]
    assert [pair for pair in others if shares(pair)] == []
    assert sum(map(shares, paraphrases)) / len(paraphrases) > 0.6


def test_the_labelled_set_is_large_and_a_threshold_alone_fails_on_it():
    others = [pair for pair in PAIRS if not pair.is_paraphrase]
    written = [pair for pair in others if not pair.frame]
    assert len(PAIRS) - len(others) + len(written) >= 300
    assert {pair.kind for pair in others} == {
        "opposite", "negation", "number", "name", "role", "question", "time or unit", "matter",
    }  # fmt: skip
    for threshold in (0.80, 0.90, 0.95):
        assert sum(pair.cosine >= threshold for pair in written) / len(written) > 0.1


def test_pairs_out_of_sentences_are_many_differ_and_are_the_same_every_time():
    """Enough that none of them bounds the share of false hits below 0.5 %; and no sentence is in both halves."""
    made = [pair for pair in PAIRS if pair.frame]
    held_out, tuned = ([pair for pair in made if pair.half == half] for half in ("held_out", "tuned"))
    assert len({(pair.one, pair.other) for pair in made}) == len(made)
    assert [pair for pair in made if pair.one == pair.other or "{" in pair.one + pair.other] == []
    assert (len(held_out) >= 800, len({pair.frame for pair in held_out}) >= 200) == (True, True)
    assert {pair.frame for pair in held_out} & {pair.frame for pair in tuned} == set()
    assert read_pairs() == PAIRS


@given(TEXTS)
def test_every_text_agrees_with_itself(text):
    assert disagreement(text, text) == ""


@given(TEXTS, TEXTS)
def test_it_does_not_matter_who_asked_first(one, other):
    assert bool(disagreement(one, other)) == bool(disagreement(other, one))


@given(TEXTS, st.sampled_from(["", " ", "?", "!", " ?", "\n"]))
def test_how_a_text_ends_does_not_matter(text, end):
    assume(not text.rstrip().endswith(("'", "’")))
    assert read_meaning(text.strip() + end).words == read_meaning(text.strip()).words


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_other_numbers_are_another_question(one, other):
    asked = "Transfer {} euros to my savings"
    assert (disagreement(asked.format(one), asked.format(other)) == "") == (one == other)


@given(CITIES, CITIES, st.sampled_from(["Weather in {} today", "who is the mayor of {}?", "{} hotels with a pool"]))
def test_another_name_is_another_question_however_it_is_written(one, other, asked):
    for first, second in ((one, other), (one.lower(), other.lower()), (one, other.lower())):
        assert (disagreement(asked.format(first), asked.format(second)) == "") == (one == other)


@given(CITIES, CITIES)
def test_there_and_back_are_two_journeys(one, other):
    assume(one != other)
    assert disagreement(f"Trains from {one} to {other}", f"Trains from {other} to {one}") == "order"
    assert disagreement(f"Is {one} larger than {other}?", f"Is {other} larger than {one}?") == "order"


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Turn the alarm on", "Turn the alarm off", "words"),
        ("My phone is charging", "My phone isn't charging", "negation"),
        ("Can I pay with a card?", "Can I pay without a card?", "negation"),
        ("Is it possible?", "Is it impossible?", "words"),
        ("Log in", "Log out", "words"),
        ("Take money from Tom", "Give money to Tom", "words"),
        ("Book a table for two", "Book a table for 3", "numbers: 2 / 3"),
        ("What is a mortgage?", "How do I get a mortgage?", "form: what / how to"),
        ("Can I change my plan?", "How do I change my plan?", "form"),
        ("Turn the alarm on.", "How can I switch on the alarm?", "form: command / how to"),
        ("Is Anna Ben's boss?", "Is Ben Anna's boss?", "order"),
        ("Do plants need insects?", "Do insects need plants?", "order"),
        ("Costs in $", "Costs in €", "words"),
        ("Ist der Laden offen?", "Ist der Laden zu?", "words"),
        ("", "Hello", "words"),
    ],
)
def test_the_reason_is_named(one, other, why):
    assert disagreement(one, other).startswith(why)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "what is the way to reset my password"),
        ("Book a table for two people.", "Book a table for 2 people"),
        ("Transfer 1,000.50 euros", "Transfer 1000.5 euros"),
        ("World War II battles", "battles of World War 2"),
        ("Switch on the heater", "Turn the heater on"),
        ("I can't log in", "I cannot log in"),
        ("Could you please explain photosynthesis?", "What is photosynthesis?"),
    ],
)
def test_the_form_of_a_request_does_not_matter(one, other):
    assert disagreement(one, other) == ""


def test_very_long_requests_never_share():
    text = "word " * MAX_CHARS
    assert "characters" in disagreement(text, text)
