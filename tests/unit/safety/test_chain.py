"""Promises of the chains: order, modes, what is said and what never is."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given

from tests.unit.safety.cuts import SIZES, assert_cuts_change_nothing, needs, output_chain, texts_of
from trident.errors import CODES, ContentBlockedError, codes_of
from trident.safety.chain import InputChain, OutputChain
from trident.safety.policy import Policy
from trident.safety.verdict import Action, Verdict

EXTRA = needs("ahocorasick", "detect_secrets", "presidio_analyzer")


def test_every_check_that_is_not_off_gives_one_verdict_in_a_fixed_order():
    checked = InputChain(Policy.model_validate({"injection": {"mode": "monitor"}})).run("hello")
    assert checked.text == "hello"
    assert checked.verdicts == (
        Verdict("lengths", Action.ALLOW, is_enforced=True, reason="nothing found"),
        Verdict("characters", Action.ALLOW, is_enforced=False, reason="nothing found"),
        Verdict("injection", Action.ALLOW, is_enforced=False, reason="nothing found"),
    )


def test_everything_off_passes_everything():
    policy = Policy.model_validate({"lengths": {"mode": "off"}, "characters": {"mode": "off"}})
    assert InputChain(policy).run("a\x00").verdicts == ()
    stream = OutputChain(policy).start()
    assert stream.feed("a\x00") + stream.finish() == "a\x00"
    assert (stream.verdicts, stream.is_blocked, OutputChain(policy).is_active) == ((), False, False)


def test_a_check_sees_what_the_enforced_ones_before_it_left():
    policy = {"characters": {"mode": "enforce"}, "injection": {"mode": "enforce"}, "lengths": {"mode": "off"}}
    assert InputChain(Policy.model_validate(policy)).run("a\u202eb").text == "ab"


def test_a_refusal_is_the_caller_s_mistake_at_every_seam():
    codes = codes_of(ContentBlockedError("x", check="pii"))
    assert codes is CODES[ContentBlockedError]
    assert (codes.http, codes.openai_code, codes.triton) == (400, "content_policy_violation", "INVALID_ARG")


def test_the_default_policy_imports_nothing_of_the_extra():
    code = (
        "import sys; from trident.safety.chain import *; from trident.safety.policy import *; p = read_policy(None);"
        "InputChain(p).run('x'); OutputChain(p).start().feed('x');"
        "print(sorted({'presidio_analyzer', 'spacy', 'detect_secrets', 'ahocorasick', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WORDS = {"words": ["falcon", "e-mail me"]}
ENTITIES = {"entities": ["EMAIL_ADDRESS", "CREDIT_CARD"]}
TEXTS = texts_of(
    *("falcon", "e-mail ", "me", " ", "\n", "a", "anna@example.com", "4111 1111 1111 1111", ",", "12 "),
    *("AKIA" + "IOSFODNN7EXAMPLE", "-----BEGIN PRIVATE KEY-----", "{}", "x" * 300),
)


def full_chain(**options):
    return output_chain(
        deny_list={**options, **WORDS},
        secrets=options,
        pii={**options, **ENTITIES},
        json_output={"mode": options["mode"], "when": "always"},
    )


@pytest.fixture(scope="module")
def redacting():
    return full_chain(mode="enforce", action="redact")


@pytest.fixture(scope="module")
def blocking():
    return full_chain(mode="enforce", action="block")


@pytest.fixture(scope="module")
def monitoring():
    return full_chain(mode="monitor")


@EXTRA
@given(text=TEXTS, sizes=SIZES)
def test_cuts_change_nothing(redacting, blocking, monitoring, text, sizes):
    for chain in (redacting, blocking, monitoring):
        assert_cuts_change_nothing(chain, text, sizes)


@EXTRA
@given(text=TEXTS)
def test_monitoring_changes_and_delays_nothing(monitoring, text):
    stream = monitoring.start()
    assert stream.feed(text) == text
    assert stream.finish() == ""
    assert not stream.is_blocked


@EXTRA
def test_what_is_remembered_changes_nothing(redacting):
    text = "mail anna@example.com or AKIA" + "IOSFODNN7EXAMPLE twice, anna@example.com, "
    first, again = redacting.start(), redacting.start()
    expected = "mail <EMAIL_ADDRESS> or <AWS_KEY> twice, <EMAIL_ADDRESS>, "
    assert first.feed(text) == again.feed(text) == expected


@EXTRA
def test_after_a_block_nothing_leaves_and_every_check_before_it_still_says_what_it_sees(blocking):
    stream = blocking.start()
    assert stream.feed("mail anna@example.com, ") == "mail "
    assert stream.is_blocked
    assert stream.feed("the falcon ") + stream.finish() == ""
    assert [verdict.action for verdict in stream.verdicts][:3] == [Action.BLOCK, Action.ALLOW, Action.BLOCK]


@EXTRA
def test_the_verdicts_of_a_monitored_text_hold_none_of_it(monitoring):
    stream = monitoring.start()
    stream.feed("the falcon mails anna@example.com with AKIA" + "IOSFODNN7EXAMPLE.")
    stream.finish()
    assert [(verdict.check, verdict.action, verdict.reason) for verdict in stream.verdicts] == [
        ("deny_list", Action.BLOCK, "entry 1 x1"),
        ("secrets", Action.REDACT, "aws_key x1"),
        ("pii", Action.REDACT, "EMAIL_ADDRESS x1"),
        ("json_output", Action.BLOCK, "text that is not JSON x1"),
    ]
