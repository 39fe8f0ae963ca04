"""The deployment's checks in preprocessing: they see all that a caller brings into a prompt; what they cut is cut."""

from __future__ import annotations

import json

import pytest

from tests.unit.manifests import MANIFEST
from tests.unit.safety.cuts import needs
from tests.unit.text.preprocessing_under_test import BACKEND, CHATML, ROOMY, USER, chat, preprocessing
from trident.errors import ContentBlockedError
from trident.safety.chain import InputChain
from trident.safety.policy import Policy
from trident.text.chat_template import ChatTemplate
from trident.text.preprocessing import Preprocessing
from trident.text.prompt import Prompt
from trident.text.prompt_templates import read_prompt_templates
from trident.text.tokenizer import Tokenizer

DENYING = {"deny_list": {"mode": "enforce", "words": ["wasp"], "action": "block"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
EVERYTHING = "{{ messages | tojson }}{{ tools | tojson if tools else '' }}{{ mode | default('') }}"


def checking(policy, template=EVERYTHING, totals=None) -> Preprocessing:
    return Preprocessing(
        Tokenizer(BACKEND, ChatTemplate(template, {"bos_token": "<s>"})),
        ROOMY,
        MANIFEST.tokens,
        read_prompt_templates(None),
        InputChain(Policy.model_validate(policy)),
        total_checks=InputChain(Policy.model_validate(totals)) if totals else None,
    )


def calling(**function) -> dict:
    return {**CALLING, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}, **function}}]}


@needs("ahocorasick")
@pytest.mark.parametrize(
    ("message", "more"),
    [
        (USER | {"content": "a wasp"}, {}),
        (USER | {"content": [{"type": "text", "text": "a wasp"}]}, {}),
        (USER | {"name": "wasp"}, {}),
        ({"role": "assistant", "content": "a wasp"}, {}),
        ({"role": "assistant", "content": "", "reasoning_content": "a wasp"}, {}),
        ({"role": "tool", "content": "a wasp", "tool_call_id": "1"}, {}),
        (calling(name="wasp"), {}),
        (calling(arguments='{"x": ["a \\u0077asp"]}'), {}),
        (calling(arguments={"wasp": True}), {}),
        (USER, {"tools": b'[{"description": "line\\nwasp"}]'}),
        (USER, {"chat_template_kwargs": b'{"mode": "wasp"}'}),
    ],
)
def test_the_deployment_s_checks_see_all_that_a_caller_brings_into_a_prompt(message, more):
    with pytest.raises(ContentBlockedError) as caught:
        checking(DENYING).encode([Prompt(max_tokens=4, messages=chat(USER, message), **more)])
    assert caught.value.check == "deny_list"


@needs("ahocorasick")
def test_the_deployment_s_checks_see_texts_and_prompt_variables():
    for prompt in (
        Prompt(max_tokens=4, text=b"a wasp"),
        Prompt(max_tokens=4, prompt_template=b"summarize@1", prompt_variables=b'{"text": "a wasp"}'),
    ):
        with pytest.raises(ContentBlockedError):
            checking(DENYING, CHATML).encode([prompt])


@needs("ahocorasick")
def test_of_several_rows_the_refused_one_is_named_and_so_is_the_check():
    with pytest.raises(ContentBlockedError, match="prompt 1: the check 'deny_list'") as caught:
        checking(DENYING).encode([Prompt(max_tokens=4, text=text) for text in (b"a bee", b"a wasp")])
    assert caught.value.check == "deny_list"


HIDDEN = "ho\u200bney"


def test_what_is_cut_out_of_a_message_is_cut_wherever_it_stands():
    message = USER | {"content": HIDDEN, "name": HIDDEN}
    row = checking({"characters": {"mode": "enforce"}}).encode(
        [Prompt(max_tokens=4, messages=chat(message, calling(arguments={"x": [HIDDEN]})))]
    )[0]
    assert BACKEND.decode(row.input_ids).count("honey") == 3
    assert "\u200b" not in BACKEND.decode(row.input_ids)


def test_what_cannot_be_cut_is_refused():
    tools = json.dumps([{"name": HIDDEN}]).encode()
    with pytest.raises(ContentBlockedError, match=r"the check 'characters' .* refuses tools") as caught:
        checking({"characters": {"mode": "enforce"}}).encode([Prompt(max_tokens=4, messages=chat(USER), tools=tools)])
    assert caught.value.check == "characters"


def test_lengths_hold_for_all_texts_of_a_chat_together():
    policy = {"lengths": {"max_chars": 15}}
    prompt = Prompt(max_tokens=4, messages=chat(USER, USER, USER))
    assert checking(policy, CHATML).encode([prompt])
    with pytest.raises(ContentBlockedError, match="17 characters, at most 15") as caught:
        checking(policy, CHATML, policy).encode([prompt])
    assert caught.value.check == "lengths"


def test_what_a_check_only_watches_is_not_said_to_the_caller():
    row = checking({"characters": {"mode": "monitor"}}).encode([Prompt(max_tokens=4, text=HIDDEN.encode())])[0]
    assert row.report == {}
    assert "redact" in {verdict.action.value for verdict in row.verdicts}


def test_what_a_check_redacts_is_not_in_the_prompt_and_is_reported(tmp_path):
    policy = tmp_path / "checks.toml"
    policy.write_text('[characters]\nmode = "enforce"\n')
    row = preprocessing(policy=policy).encode([Prompt(max_tokens=4, text="ho\u200bney\U000e0041".encode())])[0]
    assert BACKEND.decode(row.input_ids) == "honey"
    (found,) = [entry for entry in row.report["checks"] if entry["check"] == "characters"]
    assert found["action"] == "redact"
