"""Sticky assignment: in proportion to the weights, the same tomorrow, and moved by a weight only towards it."""

import random

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.gateway.scripted_upstream import asked_for
from trident.gateway.identity import Identity
from trident.gateway.sticky import ranked, uniform, unit_of

WEIGHT = st.floats(0.01, 1000)


def first_of(weights, unit):
    return ranked(weights, lambda name: uniform("chat", unit, name))[0]


@given(
    weights=st.dictionaries(st.sampled_from("abcde"), WEIGHT, min_size=2),
    grown=st.sampled_from("abcde"),
    factor=st.floats(1.0, 50.0),
    units=st.lists(st.text(), max_size=30),
)
def test_a_weight_that_grows_moves_users_to_it_and_none_elsewhere(weights, grown, factor, units):
    assume(grown in weights)
    after = {**weights, grown: weights[grown] * factor}
    for unit in units:
        before, now = first_of(weights, unit), first_of(after, unit)
        assert now in {before, grown}


def test_a_canary_that_goes_from_5_to_10_per_cent_keeps_its_users_and_takes_the_rest_from_the_others():
    """Both weights change, as an operator writes them: 95 and 5, then 90 and 10."""
    units = [f"user-{number}" for number in range(20_000)]
    few = {unit for unit in units if first_of({"main": 95, "canary": 5}, unit) == "canary"}
    more = {unit for unit in units if first_of({"main": 90, "canary": 10}, unit) == "canary"}
    assert few < more
    assert abs(len(few) / len(units) - 0.05) < 0.005
    assert abs(len(more) / len(units) - 0.10) < 0.007


@given(st.dictionaries(st.sampled_from("abcde"), WEIGHT, min_size=3), st.text(), st.sampled_from("abcde"))
def test_a_deployment_that_goes_moves_only_its_own_users(weights, unit, gone):
    assume(gone in weights)
    before = first_of(weights, unit)
    rest = {name: weight for name, weight in weights.items() if name != gone}
    assert before == gone or first_of(rest, unit) == before


def test_requests_that_are_drawn_follow_the_weights():
    chance = random.Random(7)
    firsts = [ranked({"a": 3.0, "b": 1.0, "c": 0.0}, lambda _: chance.random())[0] for _ in range(8000)]
    assert abs(firsts.count("a") / 8000 - 0.75) < 0.02
    assert "c" not in firsts


@given(st.lists(st.text(), min_size=1))
def test_a_draw_is_between_0_and_1_and_neither(parts):
    assert 0 < uniform(*parts) < 1


def test_the_draw_is_the_same_on_every_machine():
    assert uniform("chat", "user", "acme/7", "canary") == 0.053272690671211875


def test_who_is_not_named_falls_back_to_the_key_and_who_has_no_key_is_nobody():
    identity = Identity("acme", "key-1")
    named = asked_for(identity=identity, user="ann", conversation="talk")
    assert unit_of(named, "conversation") == ("conversation", "acme/talk")
    assert unit_of(named, "user") == ("user", "acme/ann")
    assert unit_of(named, "tenant") == ("tenant", "acme/acme")
    assert unit_of(named, "none") is None
    unnamed = asked_for(identity=identity)
    assert (
        unit_of(unnamed, "conversation") == unit_of(unnamed, "user") == unit_of(unnamed, "key") == ("key", "acme/key-1")
    )
    assert unit_of(asked_for(), "key") is None
    assert unit_of(asked_for(user="ann"), "key") is None
    assert unit_of(asked_for(user="ann"), "user") == ("user", "default/ann")
