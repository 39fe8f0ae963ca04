"""Promises of the check `secrets`. Every credential here was made up or is its issuer's own example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.safety.cuts import SIZES, assert_cuts_change_nothing, complete, needs, output_chain, pieces_of, texts_of
from trident.errors import ContentBlockedError
from trident.safety.chain import InputChain
from trident.safety.policy import Policy
from trident.safety.private_key import MAX_KEY_CHARS

pytestmark = needs("detect_secrets")

LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2rS5uV8xY1aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6kL9nP2rS5u"
KEY_BODY = "\n".join(["MIIEowIBAAKCAQEAtzz1abcdefghQWERTYuiopasdfghjklzxcvbnmQWERTYUIOP"] * 24)
PRIVATE_KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_BODY}\nfQ==\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
TOKENS = [
    ("aws_key", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("github_token", "ghp_" + LETTERS[:36]),
    ("github_token", "github_pat_" + LETTERS[:82]),
    ("openai_key", "sk-" + LETTERS[:20] + "T3Blbk" + "FJ" + LETTERS[20:40]),
    ("openai_key", "sk-proj-" + LETTERS[:60]),
    ("anthropic_key", "sk-ant-" + "api03-" + LETTERS[:90]),
    ("hugging_face_token", "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"),
    ("google_key", "AIza" + LETTERS[:35]),
    ("slack_token", "xoxb-" + "123456789012-1234567890123-" + "aBcDeFgHiJkLmNoPqRsTuVwX"),
    ("stripe_key", "sk_" + "live_" + LETTERS[:24]),
    ("json_web_token", JWT),
    ("json_web_token", JWT.replace("ODkwIn0", "ODkwIn0" + "x" * 3000)),
]
TEXTS = texts_of(
    *(value for _, value in TOKENS),
    *(
        "aws_secret_access_key = '",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "'",
        '"',
        " ",
        "\n",
        ", ",
        "word ",
        "-----",
    ),
    *(
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "\nMIIEowIBAAKCAQEAtzz1abcd\n",
        "-",
        "x" * 700,
    ),
    *("://user:pw@host ", "key token ", "= ", "東"),
)


@pytest.fixture(scope="module")
def redacting():
    return output_chain(secrets={"mode": "enforce"})


@pytest.fixture(scope="module")
def blocking():
    return output_chain(secrets={"mode": "enforce", "action": "block"})


@pytest.mark.parametrize(("kind", "value"), TOKENS)
@pytest.mark.parametrize("frame", ["Use {} now.", "{}", 'x = "{}"\n', '{{"token":"{}"}}', "key={};"])
def test_each_kind_is_replaced_by_its_name_in_any_cut(redacting, kind, value, frame):
    for sizes in ([1], [7], [10_000]):
        out = complete(redacting, frame.format(value), sizes)
        assert out.replace("now.", "now") == frame.format(f"<{kind.upper()}>").replace("now.", "now")


def test_of_a_name_and_its_value_only_the_value_goes(redacting):
    assert (
        complete(redacting, "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' # mine")
        == "aws_secret_access_key = '<AWS_KEY>' # mine"
    )
    assert complete(redacting, "postgres://bob:hunter22@db:5432/x") == "postgres://bob:<BASIC_AUTH>@db:5432/x"


@pytest.mark.parametrize("size", [1, 5, 64, 100_000])
def test_a_private_key_goes_with_all_its_lines(redacting, size):
    assert complete(redacting, f"Here:\n{PRIVATE_KEY}\nKeep it.", [size]) == "Here:\n<PRIVATE_KEY>\nKeep it."
    one_line = PRIVATE_KEY.replace("\n", "\\n")
    assert complete(redacting, f'"{one_line}", ok', [size]) == '"<PRIVATE_KEY>", ok'


def test_a_private_key_without_its_last_line_goes_up_to_the_limit(redacting):
    cut_off = PRIVATE_KEY.partition("-----END")[0]
    assert complete(redacting, cut_off) == "<PRIVATE_KEY>"
    after = "word " * MAX_KEY_CHARS
    assert complete(redacting, cut_off + after, [500]).endswith("word word ")


def test_a_first_line_that_is_only_spoken_of_takes_nothing_with_it(redacting):
    text = "It starts with -----BEGIN PRIVATE KEY----- and then come lines of base64."
    assert complete(redacting, text) == text.replace("-----BEGIN PRIVATE KEY-----", "<PRIVATE_KEY>")


@pytest.mark.parametrize(
    "text",
    [
        "The internationalization of counterrevolutionaries, 0123456789abcdef0123456789abcdef.",
        "-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEAtzz1abcdefgh\n-----END CERTIFICATE-----",
        "| --- | --- |\n| key | value |\n---------------------------\n",
        "https://example.com/a/b?c=d#e and /usr/lib/python3/dist-packages/requests",
        "Set OPENAI_API_KEY=sk-... before you start; aws s3 ls.",
        "def token_for(user): return secrets.token_urlsafe(32)",
    ],
)
def test_ordinary_text_passes(redacting, text):
    assert complete(redacting, text) == text


@given(text=TEXTS, sizes=SIZES)
@many(2)
def test_cuts_change_nothing(redacting, blocking, text, sizes):
    assert_cuts_change_nothing(redacting, text, sizes)
    assert_cuts_change_nothing(blocking, text, sizes)


@given(secret=st.sampled_from([value for _, value in TOKENS] + [PRIVATE_KEY]), sizes=SIZES)
def test_after_a_block_nothing_of_the_secret_leaves_and_no_verdict_holds_it(blocking, secret, sizes):
    stream = blocking.start()
    out = "".join(stream.feed(piece) for piece in pieces_of(f"Take this: {secret} and keep it safe. ", sizes))
    assert stream.is_blocked
    assert "Take this: ".startswith(out)
    assert stream.feed("more ") + stream.finish() == ""
    assert secret not in repr(stream.verdicts)


def test_a_refused_prompt_is_told_the_kind_and_not_the_secret():
    policy = Policy.model_validate({"secrets": {"mode": "enforce", "action": "block", "kinds": ["stripe_key"]}})
    with pytest.raises(ContentBlockedError, match="stripe_key x1") as caught:
        InputChain(policy).run(f"why is {dict(TOKENS)['stripe_key']} refused?")
    assert LETTERS[:12] not in caught.value.message


def test_only_the_policy_s_kinds_are_looked_for():
    chain = output_chain(secrets={"mode": "enforce", "kinds": ["stripe_key"]})
    assert complete(chain, PRIVATE_KEY) == PRIVATE_KEY


@pytest.mark.parametrize(
    "unit", ["aws key ", "eyJ", "eyJhbGciOiJIUzI1NiJ9.a.", "sk-", "://a:", "-", "-----BEGIN ", "xoxb-1-", "a"]
)
def test_a_long_hostile_text_is_answered(redacting, unit):
    assert complete(redacting, unit * (100_000 // len(unit)), [5000])
