"""Promises of the tool call parsers: calls as the templates write them are found, and everything else stays text."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.parsed_outputs import cut, parser, read
from trident.text.output_parser import MAX_CALL_CHARS, MAX_CALLS, TOOL_FAMILIES, detect_tool_family

TEMPLATES = Path(__file__).parent / "chat_templates"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
# Template, its variables, the end of an answer, whether several calls and an answer before them are possible.
RENDERINGS = [
    ("hermes", {}, "<|im_end|>\n", True, True),
    ("llama3_json", {}, "<|eot_id|>", False, False),
    ("llama3_json", {"python_tag": True}, "<|eot_id|>", False, False),
    ("mistral_v3", SPECIAL, "</s>", True, False),
    ("mistral_v7", SPECIAL, "</s>", True, True),
    ("mistral_v11", {**SPECIAL, "call_ids": True}, "</s>", True, True),
    ("mistral_v11", SPECIAL, "</s>", True, True),
]

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,20}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(), VALUES, max_size=4)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=4)
CUTS = st.lists(st.integers(0, 400), max_size=12)
ANSWERS = st.text(st.sampled_from("ab é東\n.,;:<>|"), max_size=30).map(str.strip)

WEATHER = '{"name": "weather", "arguments": {"city": "Paris"}}'
LLAMA_WEATHER = WEATHER.replace("arguments", "parameters")
ONE_CALL = {
    "hermes": f"<tool_call>\n{WEATHER}\n</tool_call>",
    "llama3_json": LLAMA_WEATHER,
    "mistral": f"[TOOL_CALLS] [{WEATHER}]",
}
PIECES_OF_MARKUP = [
    *("<tool_call>", "</tool_call>", "<tool", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "[TOOL"),
    *("{", "}", "[", "]", ",", ":", ";", '"', "\\", "\n", " ", " " * 70, "null", "-1.5e3", "x", "é", "<think>"),
    *('"name"', '"arguments"', '"parameters"', '{"a": [1, "b"]}', WEATHER, LLAMA_WEATHER, "weather", "</think>"),
]
NEAR_MARKUP = st.lists(st.sampled_from(PIECES_OF_MARKUP), max_size=16).map("".join)


def answer(template: str, variables: dict, content: str, calls: list[tuple[str, object]], end: str) -> str:
    """What the model writes for an assistant's message, as transformers renders it: no prompt, no end of turn."""
    rendering = pytest.importorskip("transformers.utils.chat_template_utils", reason="transformers is not installed")
    source = (TEMPLATES / f"tool_{template}.jinja").read_text()
    asked = [{"role": "user", "content": "?"}]
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    tool_calls = [
        {"id": f"abcdefgh{number}", "type": "function", "function": function}
        for number, function in enumerate(functions)
    ]
    answered = [*asked, {"role": "assistant", "content": content, "tool_calls": tool_calls}]
    prompt, whole = (
        rendering.render_jinja_template(
            [messages], chat_template=source, add_generation_prompt=messages is asked, **variables
        )[0][0]
        for messages in (asked, answered)
    )
    assert whole.startswith(prompt)
    assert whole.endswith(end)
    return whole[len(prompt) : -len(end)]


@pytest.mark.parametrize(("template", "variables", "end", "several", "has_content"), RENDERINGS)
@given(calls=CALLS, content=ANSWERS, places=CUTS)
def test_calls_that_a_template_renders_are_read_back(
    template, variables, end, several, has_content, calls, content, places
):
    calls = calls if several else calls[:1]
    content = content if has_content else ""
    text = answer(template, variables, content, calls, end)
    family = detect_tool_family((TEMPLATES / f"tool_{template}.jinja").read_text())
    assert read(cut(text, places), parser(family))[:2] == (content, "")
    assert read(cut(text, places), parser(family)).calls == calls


@pytest.mark.parametrize("tag", ["[TOOL_CALLS]", "<|python_tag|>"])
def test_calls_at_the_start_are_read_when_the_detokenizer_left_special_tokens_out(tag):
    texts = {"[TOOL_CALLS]": ONE_CALL["mistral"], "<|python_tag|>": "<|python_tag|>" + LLAMA_WEATHER}
    family = {"[TOOL_CALLS]": "mistral", "<|python_tag|>": "llama3_json"}[tag]
    result = read(texts[tag].replace(tag, ""), parser(family))
    assert (result.content, result.calls) == ("", [("weather", {"city": "Paris"})])


def test_a_list_of_calls_after_text_is_content_when_its_special_token_is_left_out():
    text = f"As JSON: [{WEATHER}]"
    assert read([text], parser("mistral")) == (text, "", ())


@pytest.mark.parametrize("between", [";", "\n", " ; ", "", ";\n<|python_tag|>"])
def test_llama_may_join_calls_by_a_semicolon_or_a_line_break(between):
    result = read(["<|python_tag|>", LLAMA_WEATHER, between, WEATHER], parser("llama3_json"))
    assert (result.content, result.calls) == ("", [("weather", {"city": "Paris"})] * 2)


def test_mistral_may_leave_the_args_token_out():
    result = read(['[TOOL_CALLS]weather{"city": "Paris"}[TOOL_CALLS]time {}'], parser("mistral"))
    assert result.calls == [("weather", {"city": "Paris"}), ("time", {})]


def test_a_comma_after_a_mistral_call_by_name_is_content():
    assert read(["[TOOL_CALLS]weather[ARGS]{}, then"], parser("mistral")).content == ", then"


LLAMA_CALL = f"<|python_tag|>{LLAMA_WEATHER}"
MISTRAL_CALL = f"[TOOL_CALLS] [{WEATHER}"


@pytest.mark.parametrize(
    ("family", "text", "content"),
    [
        ("llama3_json", f"{LLAMA_CALL}; and then I stop.", "; and then I stop."),
        ("llama3_json", f"{LLAMA_CALL} ;\n{{", ";\n{"),
        ("llama3_json", f'{LLAMA_CALL}; {{"name": 5}}', '; {"name": 5}'),
        ("llama3_json", f"{LLAMA_CALL};<|python_tag|>search()", ";<|python_tag|>search()"),
        ("llama3_json", f"{LLAMA_CALL} ; ", ""),
        ("mistral", f'{MISTRAL_CALL}, {{"nam": 1}}] rest', ', {"nam": 1}] rest'),
        ("mistral", f"{MISTRAL_CALL}, rest", ", rest"),
        ("mistral", f"{MISTRAL_CALL}] rest", "rest"),
        ("mistral", f"{MISTRAL_CALL},", ""),
    ],
)
def test_a_separator_is_text_unless_another_call_or_the_end_follows(family, text, content):
    for pieces in ([text], list(text)):
        result = read(pieces, parser(family))
        assert (result.content, len(result.calls)) == (content, 1)


def test_arguments_may_be_a_string_that_holds_an_object():
    for family, text in ONE_CALL.items():
        arguments = '{"city": "Paris"}'
        assert (
            read([text.replace(arguments, json.dumps(arguments))], parser(family)).calls
            == read([text], parser(family)).calls
        )


def test_arguments_are_handed_on_as_they_were_written():
    """No number is rounded, no key goes, no escape is resolved."""
    written = '{"b":1.10, "a": 123456789012345678901234567890,"a" :\t"\\u00e9\\ud800", "c": 1e999, "d": '
    written += "9" * 5000 + "}"
    result = read([f'<tool_call>{{"arguments" : {written} , "name":"f"}}</tool_call>'], parser("hermes"))
    assert [call.arguments for call in result.tool_calls] == [written]


def test_text_before_between_and_after_calls_is_content_and_the_white_space_around_them_is_not():
    call = ONE_CALL["hermes"]
    result = read([f"\n One \n\t{call}\r\n two  {call}{call} three \n"], parser("hermes"))
    assert result.content == "\n Onetwothree \n"
    assert len(result.calls) == 3


def test_a_call_does_not_need_its_end_tag():
    """The end tag may be a stop word, or lie beyond max_tokens."""
    assert read([f"<tool_call>{WEATHER}"], parser("hermes")).calls == [("weather", {"city": "Paris"})]


@pytest.mark.parametrize("family", TOOL_FAMILIES)
def test_a_call_leaves_as_soon_as_its_object_is_complete(family):
    text = ONE_CALL[family]
    end = text.rindex("}") + 1
    reader = parser(family)
    assert not reader.feed(text[: end - 1]).tool_calls
    assert [call.name for call in reader.feed(text[end - 1 : end]).tool_calls] == ["weather"]


@pytest.mark.parametrize(
    ("family", "text", "held"),
    [
        ("hermes", "Use the <tool", " <tool"),
        ("hermes", "Use the <toll", ""),
        ("hermes", "a < b", ""),
        ("hermes", "one \n", " \n"),
        ("hermes", "<tool_call> {", "<tool_call> {"),
        ("hermes", "<tool_call> [", ""),
        ("hermes", "{", ""),
        ("hermes", '<tool_call>{"name', '<tool_call>{"name'),
        ("hermes", "<tool_call>{name", ""),
        ("hermes", '<tool_call>{"name" "', ""),
        ("hermes", '<tool_call>{"name": tree,', ""),
        ("llama3_json", " {", " {"),
        ("llama3_json", "{% if", ""),
        ("llama3_json", "Say {", ""),
        ("llama3_json", '{"city": "Paris"}', ""),
        ("llama3_json", "Say <|python_tag|>", " <|python_tag|>"),
        ("llama3_json", '<|python_tag|>search.call(query="x")', ""),
        ("mistral", "[", "["),
        ("mistral", "[1", ""),
        ("mistral", "See [TOOL_CALLS", " [TOOL_CALLS"),
        ("mistral", "[TOOL_CALLS]weather[AR", "[TOOL_CALLS]weather[AR"),
        ("mistral", "[TOOL_CALLS]weather[AT", ""),
        ("mistral", "[TOOL_CALLS]weather[CALL_ID]abc[ARGS] ", "[TOOL_CALLS]weather[CALL_ID]abc[ARGS] "),
        ("mistral", "[TOOL_CALLS] is a ", " "),
        ("mistral", "[TOOL_CALLS]{", ""),
        ("mistral", '[TOOL_CALLS][{"name": [TOOL', ""),
    ],
)
def test_only_what_may_still_become_a_call_is_held(family, text, held):
    for pieces in ([text], list(text)):
        reader = parser(family)
        assert "".join(reader.feed(piece).content for piece in pieces) == text.removesuffix(held)
        assert reader.finish().content == held


def test_a_run_of_blanks_is_not_held_for_ever():
    for pieces in ([" " * 1000], [" "] * 1000):
        reader = parser("hermes")
        assert len("".join(reader.feed(piece).content for piece in pieces)) > 900


OBJECTS_THAT_ARE_NO_CALLS = [
    '{"name": "f", "arguments": {"a": 1},}',
    '{"name": "f", "arguments": {"a": [1,]}}',
    '{"name": "f", "arguments": {"a": 01}}',
    '{"name": "f", "arguments": {"a": NaN}}',
    '{"name": "f", "arguments": {"a": "line\nbreak"}}',
    '{"name": "f", "arguments": {"a": "\\x"}}',
    '{"name": "f", "arguments": {"a": "\\a"}}',
    '{"name": "f", "arguments": {"a": "\\u123g"}}',
    '{"name": "f", "arguments": {"a": "\\u12n4"}}',
    '{"name": "f", "arguments": {a: 1}}',
    '{"name": "f", "arguments": {"a": 1]}',
    "{'name': 'f', 'arguments': {}}",
    '{"name": "f"}',
    '{"name": "", "arguments": {}}',
    '{"name": 5, "arguments": {}}',
    '{"name": "\\ud800", "arguments": {}}',
    '{"arguments": {}}',
    '{"name": "f", "": {}}',
    '{"name": "f", "arguments": null}',
    '{"name": "f", "arguments": [1]}',
    '{"name": "f", "arguments": "not JSON"}',
    '{"name": "f", "arguments": "[1]"}',
    '{"name": "f", "arguments": "{} {}"}',
    '{"name": "f", "arguments": "{\\"a\\": \\"\ud800\\"}"}'.encode("ascii", "backslashreplace").decode(),
    '{"name": "f", "arguments": ' + json.dumps('{"a": ' + "[" * 15_000) + "}",
    '{"name": "f", "arguments": {"a": ' + "[" * 15_000 + "]" * 15_000 + "}}",
    '{"name": "f", "arguments": ' + '{"a": ' * 15_000,
    '{"name": "f", "arguments": {"a": "' + "x" * MAX_CALL_CHARS + '"}}',
    '{"name": "f", "argum',
    '{"name": "f", "arguments": {"a": "b',
    "{}",
]


@pytest.mark.parametrize("family", TOOL_FAMILIES)
@pytest.mark.parametrize("written", OBJECTS_THAT_ARE_NO_CALLS, ids=lambda written: written[:50])
def test_what_is_no_valid_call_comes_back_as_it_was_written(family, written):
    written = written.replace("arguments", "parameters") if family == "llama3_json" else written
    before, after = {"hermes": ("<tool_call>\n", "\n</tool_call>\n"), "mistral": ("[TOOL_CALLS] [", "]")}.get(
        family, ("<|python_tag|>", "")
    )
    text = f"Before {before}{written}{after} after."
    for size in (1, 7, len(text)):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert read(pieces, parser(family)) == (text, "", ())


@pytest.mark.parametrize("family", TOOL_FAMILIES)
def test_a_call_after_a_malformed_one_is_read(family):
    opener = {"hermes": "<tool_call>", "llama3_json": "<|python_tag|>", "mistral": "[TOOL_CALLS]"}[family]
    call = opener + ONE_CALL[family].removeprefix(opener)
    for malformed in (opener, f"{opener}{{", f'{opener}{{"name": {opener}', f'{opener}{{"name": 5}}'):
        result = read([f"{malformed}\n{call}"], parser(family))
        assert result.content.rstrip("\n") == malformed  # the line break may have been read as part of it
        assert result.calls == [("weather", {"city": "Paris"})]


def test_calls_of_a_list_before_its_malformed_end_stand():
    result = read([f'[TOOL_CALLS] [{WEATHER}, {{"name": 5}}]'], parser("mistral"))
    assert (result.content, len(result.calls)) == (', {"name": 5}]', 1)


def test_an_object_of_the_largest_size_is_a_call_and_one_character_more_makes_it_text():
    start, end = '{"name": "f", "arguments": {"a": "', '"}}'
    fits = start + "x" * (MAX_CALL_CHARS - len(start) - len(end)) + end
    too_long = fits.replace("xx", "xxx", 1)
    for size in (1, 1000, MAX_CALL_CHARS * 2):
        for written, num_calls in ((fits, 1), (too_long, 0)):
            text = f"<tool_call>{written}"
            reader = parser("hermes")
            result = read([text[start : start + size] for start in range(0, len(text), size)], reader)
            assert (reader.num_calls, result.content) == (num_calls, "" if num_calls else text)


def test_an_endless_object_is_released_when_it_is_too_long():
    reader = parser("llama3_json")
    start = '{"a": "'
    assert not reader.feed(start + "x" * (MAX_CALL_CHARS - len(start) - 1)).content
    assert len(reader.feed("x").content) == MAX_CALL_CHARS
    assert reader.feed("x").content == "x"


@pytest.mark.parametrize("family", TOOL_FAMILIES)
def test_after_the_last_call_that_is_read_all_is_text(family):
    joined = {"hermes": ONE_CALL["hermes"], "llama3_json": LLAMA_WEATHER + ";", "mistral": ONE_CALL["mistral"]}[family]
    result = read([joined * (MAX_CALLS + 2)], parser(family))
    assert len(result.calls) == MAX_CALLS
    assert result.content == (";" if family == "llama3_json" else "") + joined * 2


@pytest.mark.parametrize("family", TOOL_FAMILIES)
@given(text=NEAR_MARKUP, places=CUTS)
@many(3)
def test_no_cut_changes_what_is_read(family, text, places):
    whole = read([text], parser(family))
    assert read(cut(text, places), parser(family)) == whole
    assert read(text, parser(family)) == whole  # character by character


@pytest.mark.parametrize("family", TOOL_FAMILIES)
@given(text=NEAR_MARKUP)
@many(2)
def test_content_is_the_whole_text_when_there_is_no_call_and_in_its_order_when_there_is(family, text):
    result = read([text], parser(family))
    rest = iter(text)
    assert all(char in rest for char in result.content)
    assert result.calls or result.content == text


@pytest.mark.parametrize(
    ("family", "objects", "tags"),
    [
        ("hermes", [WEATHER], ["<tool_call>", "</tool_call>"]),
        ("llama3_json", [WEATHER, LLAMA_WEATHER], ["<|python_tag|>", ";"]),
    ],
)
@given(data=st.data())
@many(2)
def test_every_character_is_content_or_of_a_call_or_of_its_markup(family, objects, tags, data):
    pieces = [*objects, *tags, *ONE_CALL.values(), " ", "\n", "é", "{", '{"a": 1}', "<tool"]
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=12)))
    result = read([text], parser(family))
    marked = Counter(text) - Counter(result.content)
    assert Counter(text) == marked + Counter(result.content)
    marked = Counter({char: count for char, count in marked.items() if not char.isspace()})
    parts = [*objects, *tags]
    num_calls = len(result.calls)
    for counts in itertools.product(range(num_calls + 1), repeat=len(parts)):
        written = "".join(part * count for part, count in zip(parts, counts, strict=True))
        if sum(counts[: len(objects)]) == num_calls and Counter("".join(written.split())) == marked:
            return
    pytest.fail(f"{num_calls} calls and their tags do not account for {marked}")


@given(calls=CALLS, words=st.lists(ANSWERS, min_size=5, max_size=5), places=CUTS)
@many(2)
def test_random_calls_in_random_text_are_found(calls, words, places):
    spaces = ["", " ", "\n", "\n\n", "\t "]
    text, content = words[0], words[0]
    for number, (name, arguments) in enumerate(calls):
        written = json.dumps(
            {"id": 1, "arguments": arguments, "name": name}, ensure_ascii=number % 2 == 0, indent=number
        )
        gap = spaces[number]
        text += f"{gap}<tool_call>{gap}{written}{gap}</tool_call>{gap}{words[number + 1]}"
        content += words[number + 1]
    result = read(cut(text, places), parser("hermes"))
    assert (result.content, result.calls) == (content, calls)
