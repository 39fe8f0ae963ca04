"""Requests of the same words that are put otherwise have another answer; most ways of asking the same have not."""

import pytest

from trident.gateway.semantic_gate import disagreement


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Who was the mayor of Ghent?", "Who is the mayor of Ghent?", "tense"),
        ("Did the shop open?", "Will the shop open?", "tense"),
        ("Has the parcel come?", "Will the parcel come?", "tense"),
        ("Do I need a visa?", "Can I get a visa?", "mode"),
        ("Must I pay?", "May I pay?", "mode"),
        ("Do I have a licence?", "Do I need a licence?", "mode"),
        ("How do I make a candle?", "How do I use a candle?", "what is done"),
        ("What is chalk used for?", "What is chalk made of?", "what is done"),
        ("What is chalk?", "What is chalk used for?", "what is done"),
        ("What is a good credit score?", "What is a credit score?", "judgement"),
        ("What is your name?", "What is my name?", "person"),
        ("Gift ideas for him", "Gift ideas for her", "person"),
        ("Can dogs eat figs?", "Which dogs can eat figs?", "form"),
        ("Count from 3 to 9", "Count from 9 to 3", "order"),
        ("2 adults and 3 children", "3 adults and 2 children", "order"),
        ("A book by Ann", "A book about Ann", "order"),
        ("Delete every file", "Delete some files", "words"),
        ("Does she like him?", "Does he like her?", "person"),
        ("Do you owe me money?", "Do I owe you money?", "person"),
        ("Is my dog older than your dog?", "Is your dog older than my dog?", "person"),
        ("Flights to Rome on Monday", "Flights to Rome by Monday", "order"),
        ("Be there at 5 pm", "Be there by 5 pm", "order"),
        ("Stop in 5 minutes", "Stop for 5 minutes", "order"),
        ("Who did Tom hit?", "Who hit Tom?", "order"),
        ("Is a tomato a fruit?", "Is a fruit a tomato?", "order"),
        ("Put the box on the table", "Put the table on the box", "order"),
        ("How do I teach chess?", "How do I hear chess?", "words"),
    ],
)
def test_another_manner_is_another_question(one, other, why):
    assert disagreement(one, other).startswith(why)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long will delivery take?", "How long does delivery take?"),
        ("Is it going to snow in Oslo?", "Will it snow in Oslo?"),
        ("How do you clean your oven?", "How can I clean my oven?"),
        ("What is the best time to visit Oslo?", "When is the best time to visit Oslo?"),
        ("Delete all files", "Delete every file"),
        ("How much do dogs sleep a day?", "How much do dogs sleep every day?"),
        ("What do I have to do to cancel?", "How can I cancel?"),
        ("Can I park here?", "Is it possible to park here?"),
        ("Can I change the delivery date?", "Is it possible to change the date of the delivery?"),
    ],
)
def test_the_same_asked_in_other_ways_is_the_same(one, other):
    assert disagreement(one, other) == ""
