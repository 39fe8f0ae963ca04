"""Promises of the reasoning splitter: a block at the start is reasoning, its tags and line breaks go, no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.parsed_outputs import cut, parser, read
from trident.text.output_parser import detect_reasoning_family

TEMPLATE = (Path(__file__).parent / "chat_templates" / "tool_think.jinja").read_text()
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'

CUTS = st.lists(st.integers(0, 200), max_size=12)
TEXTS = st.text(st.sampled_from("ab é東 \n<>/"), max_size=40)
PIECES = ["<think>", "</think>", "<thi", "</", "\n", " ", " " * 70, "\n" * 70, "a", "é", CALL]
NEAR_MARKUP = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def answer(reasoning: str, content: str, opens_reasoning: bool) -> str:
    """What the model writes, as transformers renders it: no prompt, no end of turn."""
    rendering = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    asked = [{"role": "user", "content": "?"}]
    answered = [*asked, {"role": "assistant", "content": content, "reasoning_content": reasoning}]
    prompt, whole = (
        rendering.render_jinja_template(
            [messages],
            chat_template=TEMPLATE,
            add_generation_prompt=messages is asked,
            opens_reasoning=opens_reasoning,
        )[0][0]
        for messages in (asked, answered)
    )
    assert whole.startswith(prompt)
    return whole[len(prompt) :].removesuffix("<|im_end|>\n")


@pytest.mark.parametrize("opens_reasoning", [False, True])
@given(reasoning=TEXTS, content=TEXTS, places=CUTS)
@many(2)
def test_reasoning_that_a_template_renders_is_read_back(opens_reasoning, reasoning, content, places):
    text = answer(reasoning, content, opens_reasoning)
    family = detect_reasoning_family(TEMPLATE)
    result = read(cut(text, places), parser(None, family, starts_in_reasoning=opens_reasoning))
    assert (result.reasoning, result.content) == (reasoning.strip("\n"), content.lstrip("\n"))


@pytest.mark.parametrize(
    ("text", "starts_in_reasoning", "reasoning", "content"),
    [
        (" \n<think>\nWell\n\n</think>\n\n  Yes\n", False, "Well", "  Yes\n"),
        ("Well\n</think>\n\nYes", True, "Well", "Yes"),
        ("\n<think>\nWell</think>Yes", True, "Well", "Yes"),
        ("<think></think>Yes", False, "", "Yes"),
        ("\n\n</think>\n\nYes", True, "", "Yes"),
        ("<think>Well <think> then</think>Yes</think>", False, "Well <think> then", "Yes</think>"),
        (" \nYes <think>no</think>", False, "", " \nYes <think>no</think>"),
        ("Yes</think>", False, "", "Yes</think>"),
        ("<think", False, "", "<think"),
        ("<think>Well, </thin", False, "Well, </thin", ""),
        ("<think>\nWell\n", False, "Well\n", ""),
        ("", True, "", ""),
    ],
)
def test_a_block_at_the_start_is_reasoning_and_nothing_else_is(text, starts_in_reasoning, reasoning, content):
    for pieces in ([text], list(text)):
        assert read(pieces, parser(None, "think", starts_in_reasoning)) == (content, reasoning, ())


def test_a_call_inside_a_block_is_reasoning_and_one_after_it_is_a_call():
    result = read([f"<think>\nPerhaps {CALL}?\n</think>\n\n{CALL}"], parser("hermes", "think"))
    assert result == ("", f"Perhaps {CALL}?", result.tool_calls)
    assert result.calls == [("f", {})]


def test_the_start_of_the_text_is_after_the_block_for_calls_without_an_opener():
    result = read(['<think>{"a": 1}</think>\n\n{"name": "f", "parameters": {}}'], parser("llama3_json", "think"))
    assert (result.content, result.reasoning, result.calls) == ("", '{"a": 1}', [("f", {})])


@pytest.mark.parametrize(
    ("text", "starts_in_reasoning", "held"),
    [
        ("<thi", False, "<thi"),
        ("<that", False, ""),
        ("a < b", False, ""),
        ("<think>Well\n", False, "\n"),
        ("<think>Well </th", False, "</th"),
        ("<think>Well </that", False, ""),
        ("Well", True, ""),
        (" " * 70, False, ""),
        ("<think>a</think> b <think", False, ""),
    ],
)
def test_only_what_may_still_become_a_tag_is_held(text, starts_in_reasoning, held):
    for pieces in ([text], list(text)):
        reader = parser(None, "think", starts_in_reasoning)
        for piece in pieces:
            reader.feed(piece)
        rest = reader.finish()
        assert rest.content + rest.reasoning == held


@pytest.mark.parametrize("starts_in_reasoning", [False, True])
@given(text=NEAR_MARKUP, places=CUTS)
@many(3)
def test_no_cut_changes_what_is_read(starts_in_reasoning, text, places):
    whole = read([text], parser("hermes", "think", starts_in_reasoning))
    assert read(cut(text, places), parser("hermes", "think", starts_in_reasoning)) == whole
    assert read(text, parser("hermes", "think", starts_in_reasoning)) == whole  # character by character


@pytest.mark.parametrize("starts_in_reasoning", [False, True])
@given(text=NEAR_MARKUP)
@many(3)
def test_every_character_is_reasoning_content_or_a_tag_with_its_line_breaks(starts_in_reasoning, text):
    result = read([text], parser(None, "think", starts_in_reasoning))
    outside = "".join(result.reasoning + result.content).replace("\n", "").replace(" ", "")
    blank = text.replace("\n", "").replace(" ", "")
    assert outside in {blank, blank.replace("<think>", "", 1), blank.replace("</think>", "", 1)} | {
        blank.replace("<think>", "", 1).replace("</think>", "", 1)
    }
