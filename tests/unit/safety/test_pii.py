"""Promises of the check `pii`."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.safety.cuts import SIZES, assert_cuts_change_nothing, complete, needs, output_chain, pieces_of, texts_of
from trident.errors import ContentBlockedError, SettingsError
from trident.safety.chain import InputChain
from trident.safety.policy import Policy

pytestmark = needs("presidio_analyzer")

ENTITIES = [
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "US_SSN",
    "CRYPTO",
]
FOUND = [
    ("EMAIL_ADDRESS", "anna.lee+news@mail.example.com"),
    ("PHONE_NUMBER", "(415) 555-2671"),
    ("PHONE_NUMBER", "+49 30 901820"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "4111111111111111"),
    ("IBAN_CODE", "GB29 NWBK 6016 1331 9268 19"),
    ("IBAN_CODE", "DE89370400440532013000"),
    ("IP_ADDRESS", "192.168.10.20"),
    ("IP_ADDRESS", "2001:db8::8a2e:370:7334"),
    ("MAC_ADDRESS", "aa:bb:cc:0d:ee:ff"),
    ("US_SSN", "536-22-1234"),
    ("CRYPTO", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
]
TEXTS = texts_of(
    *(value for _, value in FOUND),
    *(" ", "  ", "\n", ", ", "{", "word ", "call ", "東", "@", "-", "12", "7 " * 40, "1.2.3", "x" * 300, "7" * 600),
)


@pytest.fixture(scope="module")
def redacting():
    return output_chain(pii={"mode": "enforce", "entities": ENTITIES})


@pytest.fixture(scope="module")
def blocking():
    return output_chain(pii={"mode": "enforce", "entities": ENTITIES, "action": "block"})


@pytest.mark.parametrize(("entity", "value"), FOUND)
@pytest.mark.parametrize("frame", ["It is {} today.", "{}", "a\n{}\nb", "请写{}谢谢", '{{"value":"{}","x":1}}'])
def test_each_entity_is_replaced_by_its_name_in_any_cut(redacting, entity, value, frame):
    if entity == "US_SSN":  # a number alone may be anything: a word has to say it
        frame = "social security " + frame
    for sizes in ([1], [3], [1000]):
        assert complete(redacting, frame.format(value), sizes) == frame.format(f"<{entity}>")


@pytest.mark.parametrize(
    "text",
    [
        "On 2024-07-05 at 14:30 we sold 1,204 units for $12.50 each.",
        "Version 1.22.3, build 20240705, error 0x80070057, 3.14159.",
        "4111 1111 1111 1112 fails the checksum; so does GB29 NWBK 6016 1331 9268 18.",
        "user@localhost, me @ home, a@b",
        "for i in range(10): print(i * 2)  # O(n)",
        "1 2 3 4 5 6 7 8 9 10 11 12",
    ],
)
def test_ordinary_numbers_pass(redacting, text):
    assert complete(redacting, text) == text


@given(text=TEXTS, sizes=SIZES)
@many(2)
def test_cuts_change_nothing(redacting, blocking, text, sizes):
    assert_cuts_change_nothing(redacting, text, sizes)
    assert_cuts_change_nothing(blocking, text, sizes)


@given(found=st.sampled_from([value for entity, value in FOUND if entity != "US_SSN"]), sizes=SIZES)
def test_after_a_block_nothing_of_the_match_leaves_and_no_verdict_holds_it(blocking, found, sizes):
    stream = blocking.start()
    out = "".join(stream.feed(piece) for piece in pieces_of(f"Take this: {found} and keep it safe. ", sizes))
    assert stream.is_blocked
    assert out == "Take this: "
    assert stream.feed("more ") + stream.finish() == ""
    assert found not in repr(stream.verdicts)


def test_an_ordinary_completion_is_not_held_up(redacting):
    stream = redacting.start()
    assert stream.feed("Sales rose by 12.5 % to 1,204 units in ") == "Sales rose by 12.5 % to 1,204 units in "
    assert stream.feed("numbers: 1, 2, 3, ") == "numbers: 1, 2, 3, "


def test_a_prompt_is_redacted_like_a_completion():
    checked = InputChain(Policy.model_validate({"pii": {"mode": "enforce"}})).run(
        "mail anna@example.com, anna@example.com"
    )
    assert checked.text == "mail <EMAIL_ADDRESS>, <EMAIL_ADDRESS>"
    assert checked.verdicts[-1].reason == "EMAIL_ADDRESS x2"


def test_only_the_policy_s_entities_are_looked_for():
    chain = output_chain(pii={"mode": "enforce", "entities": ["IBAN_CODE"]})
    assert complete(chain, "anna@example.com") == "anna@example.com"


def test_the_network_is_not_asked(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the check went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(ContentBlockedError, match="EMAIL_ADDRESS x1"):
        InputChain(Policy.model_validate({"pii": {"mode": "enforce", "action": "block"}})).run("a@example.co.uk")


def test_an_unknown_region_is_named():
    with pytest.raises(SettingsError, match="no region 'UK'"):
        output_chain(pii={"mode": "enforce", "phone_regions": ["UK"]})


@pytest.mark.parametrize("unit", ["a@", "a.b@", "://:", "aa:bb:", "x", "-@-"])
def test_a_long_hostile_text_is_answered(redacting, unit):
    assert complete(redacting, unit * (100_000 // len(unit)), [5000])
