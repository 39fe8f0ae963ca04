"""Promises of the output parser: it takes apart what a family marks, numbers the calls, and leaves other text alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.parsed_outputs import cut, parser, read
from trident.errors import SettingsError
from trident.text.output_parser import (
    REASONING_FAMILIES,
    TOOL_FAMILIES,
    OutputParser,
    Parts,
    detect_reasoning_family,
    detect_tool_family,
)

TEMPLATES = Path(__file__).parent / "chat_templates"
TWO_CALLS = {
    "hermes": '<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{"name": "g", "arguments": {}}',
    "llama3_json": '{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}',
    "mistral": '[TOOL_CALLS] [{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]',
}
FAMILIES = st.tuples(st.sampled_from([None, *TOOL_FAMILIES]), st.sampled_from([None, *REASONING_FAMILIES]))


def ids(family: str, seed: str) -> list[str]:
    reader = OutputParser(family, None, starts_in_reasoning=False, id_seed=seed)
    return [call.id for call in read([TWO_CALLS[family]], reader).tool_calls]


@given(pieces=st.lists(st.text(max_size=20), max_size=5))
def test_without_families_every_piece_is_content_at_once(pieces):
    reader = parser(starts_in_reasoning=True)
    assert [reader.feed(piece) for piece in pieces] == [Parts(content=piece) for piece in pieces]
    assert reader.finish() == Parts()


@given(families=FAMILIES, starts=st.booleans(), text=st.text(), places=st.lists(st.integers(0, 50), max_size=5))
@many(3)
def test_arbitrary_text_is_read_whatever_the_families(families, starts, text, places):
    result = read(cut(text, places), parser(*families, starts_in_reasoning=starts))
    assert not result.tool_calls
    assert text.endswith(result.content)
    assert result.reasoning in text


@pytest.mark.parametrize("family", TOOL_FAMILIES)
def test_calls_are_counted_and_numbered_as_they_are_released(family):
    reader = parser(family)
    assert reader.num_calls == 0
    calls = [call for char in TWO_CALLS[family] for call in reader.feed(char).tool_calls]
    assert [(call.index, call.name) for call in calls] == [(0, "f"), (1, "g")]
    assert reader.num_calls == 2
    assert not reader.finish().tool_calls


@pytest.mark.parametrize("family", TOOL_FAMILIES)
def test_ids_depend_on_the_seed_and_the_index_alone(family):
    assert ids(family, "one") == ids(family, "one")
    assert len({*ids(family, "one"), *ids(family, "two")}) == 4


@pytest.mark.parametrize(
    ("family", "form"),
    [("hermes", "call_[0-9a-f]{24}"), ("llama3_json", "call_[0-9a-f]{24}"), ("mistral", "[a-z0-9]{9}")],
)
def test_ids_have_the_form_that_the_family_s_templates_take(family, form):
    assert all(re.fullmatch(form, call_id) for call_id in ids(family, "seed"))


def test_one_piece_may_bring_reasoning_content_and_calls():
    reader = parser("hermes", "think")
    parts = reader.feed(f"<think>\nHm\n</think>\n\nSee: {TWO_CALLS['hermes']}")
    assert (parts.reasoning, parts.content, len(parts.tool_calls)) == ("Hm", "See:", 2)


@pytest.mark.parametrize(("tools", "reasoning"), [("llama3json", None), (None, "thinking")])
def test_an_unknown_family_is_refused_with_the_known_ones(tools, reasoning):
    with pytest.raises(SettingsError, match=r"there is no (tool family 'llama3json'|reasoning family 'thinking')"):
        OutputParser(tools, reasoning, starts_in_reasoning=False, id_seed="")


@pytest.mark.parametrize(
    ("source", "family"),
    [
        ("tool_hermes", "hermes"),
        ("tool_think", "hermes"),
        ("tool_llama3_json", "llama3_json"),
        ("tool_mistral_v3", "mistral"),
        ("tool_mistral_v7", "mistral"),
        ("tool_mistral_v11", "mistral"),
    ],
)
def test_a_chat_template_tells_its_tool_family(source, family):
    assert detect_tool_family((TEMPLATES / f"{source}.jinja").read_text()) == family


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "{{ '<tool_call>\n<function=' + call.name + '>\n' }}{# Qwen3-Coder #}{{ call.arguments }}",
        "{{ '<tool_call>' + call.name }}{% for k, v in call.arguments.items() %}<arg_key>{{ k }}</arg_key>{% endfor %}",
        "<|start_header_id|>{{ message.role }}<|end_header_id|>{{ tools | tojson }}<|python_tag|>",
        '{"name": "x", "parameters": {{ tool.parameters | tojson }}}',
    ],
)
def test_a_chat_template_with_no_calls_or_other_ones_has_no_tool_family(source):
    assert detect_tool_family(source) is None


def test_a_chat_template_that_handles_think_blocks_has_a_reasoning_family():
    assert detect_reasoning_family((TEMPLATES / "tool_think.jinja").read_text()) == "think"
    assert detect_reasoning_family((TEMPLATES / "tool_hermes.jinja").read_text()) is None
