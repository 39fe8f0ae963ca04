"""Promises of prompt templates: the same name gives the same words, values stay values, every mistake is named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from trident.errors import InvalidRequestError, SettingsError
from trident.text.prompt_template import failures
from trident.text.prompt_templates import PromptTemplates, read_prompt_templates, read_prompt_variables

GREET = """
description = "A greeting"
max_chars = 60
[variables.name]
type = "string"
max_chars = 40
[variables.times]
type = "integer"
minimum = 1
maximum = 9
default = 2
[variables.mood]
type = "string"
choices = ["kind", "short"]
default = "kind"
[variables.share]
type = "number"
default = 0.5
[variables.loud]
type = "boolean"
default = false
[variables.friends]
type = "strings"
default = []
max_chars = 10
[[messages]]
role = "system"
content = "Be {{ mood }}, {{ share }}{% if loud %}!{% endif %}"
[[messages]]
role = "user"
content = "{{ times }} x {{ name }}{% for friend in friends %}, {{ friend }}{% endfor %}"
"""
ECHO = 'description = "Itself"\ntext = "{{ value }}"\n[variables.value]\ntype = "string"\n'


def write(folder: Path, name: str, text: str) -> Path:
    stem, _, version = name.partition("@")
    path = folder / stem / f"{version}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def templates(folder: Path, **texts: str) -> PromptTemplates:
    """Templates called `name_1` for the version 1 of `name`, and so on."""
    for key, text in texts.items():
        write(folder, key.replace("_", "@"), text)
    return read_prompt_templates(folder)


@pytest.fixture(scope="module")
def greetings(tmp_path_factory) -> PromptTemplates:
    return templates(tmp_path_factory.mktemp("prompts"), greet_1=GREET, greet_2=GREET, greet_10=GREET, echo_1=ECHO)


def test_a_chat_is_rendered_with_its_name_and_the_sum_of_its_file(greetings):
    rendered = greetings.render("greet@1", {"name": "Ana", "loud": True, "share": 1, "friends": ["Bo", "Ç"]})
    assert rendered.messages == [
        {"role": "system", "content": "Be kind, 1!"},
        {"role": "user", "content": "2 x Ana, Bo, Ç"},
    ]
    assert rendered.text is None
    assert (rendered.template, rendered.sha256) == ("greet@1", hashlib.sha256(GREET.encode()).hexdigest())
    with pytest.raises(dataclasses.FrozenInstanceError):
        rendered.template = "other@1"


def test_a_text_is_rendered_as_a_text(greetings):
    rendered = greetings.render("echo@1", {"value": "a\n"})
    assert (rendered.messages, rendered.text) == (None, "a\n")


@many(3)
@given(
    st.one_of(st.text(max_size=200), st.sampled_from(["{{ 7 * 7 }}", "{% raw %}", "{# x #}", "{{ self }}", "\r\n "]))
)
def test_a_value_is_only_ever_a_value(greetings, value):
    """Braces in it stay braces, line breaks stay as they are, nothing is escaped."""
    assert greetings.render("echo@1", {"value": value}).text == value


def test_what_is_written_outside_of_tags_is_kept_to_the_last_line_break(tmp_path):
    text = 'description = "d"\ntext = """\n  a < b & "c"\n\n"""\n'
    assert templates(tmp_path, plain_1=text).render("plain@1", {}).text == '  a < b & "c"\n\n'


def test_names_are_in_order_and_versions_by_number(greetings):
    assert [name for name in greetings.names() if name.startswith("greet")] == ["greet@1", "greet@2", "greet@10"]
    assert greetings.names()[0] == "answer_from_context@1"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("greet", "'greet' needs a version, .*; the newest is 'greet@10'"),
        ("greet@", "'greet' needs a version, .*; the newest is 'greet@10'"),
        ("greet@3", "'greet' has no version '3'; there: 1, 2, 10"),
        ("greet@01", "'greet' has no version '01'"),
        ("gret@1", "no prompt template 'gret@1'; did you mean 'greet@1'"),
        ("", "no prompt template ''; there: answer_from_context@1, echo@1"),
        ("../echo/1", "no prompt template"),
        ("\ud800\n" * 10_000, "no prompt template"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(greetings, name, complaint):
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        greetings.render(name, {})
    assert len(caught.value.message.encode()) < 500


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, r"needs the variable 'name' \(string\)"),
        ({"nam": "x"}, "has no variable 'nam'; did you mean 'name'"),
        ({"name": "x", "zzz": 1}, "has no variable 'zzz'; there: name, times"),
        ({"name": 1}, "'name' must be a string, got 1"),
        ({"name": None}, "'name' must be a string, got None"),
        ({"name": "x" * 41}, "'name' has 41 characters, at most 40 are taken"),
        ({"name": "\ud800"}, "'name' holds half of a surrogate pair"),
        ({"name": "x", "times": "2"}, "'times' must be an integer of 64 bits, got '2'"),
        ({"name": "x", "times": 2.0}, r"'times' must be an integer of 64 bits, got 2\.0"),
        ({"name": "x", "times": True}, "'times' must be an integer of 64 bits, got True"),
        ({"name": "x", "times": 2**63}, "'times' must be an integer of 64 bits"),
        ({"name": "x", "times": 0}, "'times' must be at least 1, got 0"),
        ({"name": "x", "times": 10}, "'times' must be at most 9, got 10"),
        ({"name": "x", "mood": "grim"}, "'mood' must be one of 'kind', 'short', got 'grim'"),
        ({"name": "x", "share": float("nan")}, "'share' must be a finite number, got nan"),
        ({"name": "x", "share": 10**400}, "'share' must be a finite number"),
        ({"name": "x", "loud": 1}, "'loud' must be true or false, got 1"),
        ({"name": "x", "friends": "Bo"}, "'friends' must be a list of strings, got 'Bo'"),
        ({"name": "x", "friends": ["Bo", 1]}, r"'friends' must be a list of strings, got \['Bo', 1\]"),
        ({"name": "x", "friends": ["12345", "123456"]}, "'friends' has 11 characters, at most 10"),
        ({"name": "x", "friends": [""] * 1001}, "'friends' has 1001 strings, at most 1000"),
    ],
)
def test_a_value_that_does_not_fit_names_template_and_variable(greetings, variables, complaint):
    with pytest.raises(InvalidRequestError, match=complaint) as caught:
        greetings.render("greet@1", variables)
    assert "greet@1" in caught.value.message
    assert len(caught.value.message.encode()) < 500


def test_all_values_together_are_bounded(tmp_path):
    text = ECHO.replace("{{ value }}", "{{ value }}{{ other }}") + '[variables.other]\ntype = "string"\n'
    both = templates(tmp_path, both_1=text)
    assert both.render("both@1", {"value": "x" * 50_000, "other": "y" * 50_000}).text.endswith("y")
    with pytest.raises(
        InvalidRequestError, match="both@1: its variables have 100001 characters together, at most 100000"
    ):
        both.render("both@1", {"value": "x" * 50_000, "other": "y" * 50_001})


def test_a_prompt_that_repeats_its_values_does_not_grow_without_end(tmp_path):
    text = """
    description = "Every string beside every string"
    text = "{% for a in many %}{% for b in many %}{{ a }}{{ b }}{% endfor %}{% endfor %}"
    [variables.many]
    type = "strings"
    """
    squares = templates(tmp_path, square_1=text)
    assert squares.render("square@1", {"many": ["a", "b"]}).text == "aaabbabb"
    with pytest.raises(InvalidRequestError, match="square@1: the prompt grows beyond 1000000 characters"):
        squares.render("square@1", {"many": ["x" * 100] * 1000})


@pytest.mark.parametrize(
    "expression", ["1 // value", "value.name", "[1][value]", "value.__class__", "'%d' % 'x' ~ value"]
)
def test_a_template_that_fails_on_a_value_is_one_line(tmp_path, expression):
    text = f'description = "d"\ntext = "{{{{ {expression} }}}}"\n[variables.value]\ntype = "integer"\n'
    with pytest.raises(InvalidRequestError, match="prompt template fails@1"):
        templates(tmp_path, fails_1=text).render("fails@1", {"value": 0 if "//" in expression else 5})


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('description = "A greeting"', "", "description is missing"),
        ('description = "A greeting"', 'descripton = "A"', "unknown key 'descripton'; did you mean 'description'"),
        ("minimum = 1", "minimun = 1", r"variables\.times: unknown key 'minimun'; did you mean 'minimum'"),
        ('role = "user"', 'rol = "user"', r"messages\.1: unknown key 'rol'; did you mean 'role'"),
        ('role = "user"', 'role = "usr"', r"messages\.1\.role.*got 'usr'; did you mean 'user'"),
        ('type = "boolean"', 'type = "bolean"', r"variables\.loud\.type.*did you mean 'boolean'"),
        ("[variables.name]", "[variables.Name]", r"variables\.Name"),
        ("default = 2", 'default = "2"', r"variables\.times: default must be an integer of 64 bits, got '2'"),
        ("default = 2", "default = 10", r"variables\.times: default must be at most 9, got 10"),
        ("default = 2", "default = 2020-01-01", r"variables\.times\.default"),
        ('"kind", "short"', '"kind", 5', r"variables\.mood: each of choices must be a string, got 5"),
        ('"kind", "short"', "", r"variables\.mood\.choices"),
        ("minimum = 1", "max_chars = 1", r"variables\.times: max_chars is for string and strings, not for integer"),
        ("max_chars = 40", "minimum = 40", r"variables\.name: minimum and maximum are for integer and number"),
        ("default = false", "choices = [true]", r"variables\.loud: choices are not for boolean"),
        (
            "{{ times }} x",
            "{{ tmes }} {{ times }} x",
            r"variables\.tmes is used and not declared; did you mean 'times'",
        ),
        ("{{ times }} x", "{{ range(times) }} x", r"variables\.range is used and not declared"),
        ("{{ times }} x ", "", r"variables\.times is declared and never used"),
        ("{{ times }} x", "{% if times %}", r"messages\.1\.content, line 1: "),
        ("{{ times }} x", "{{ times | shout }}", r"messages\.1\.content, line 1: No filter named 'shout'"),
        ("{{ times }} x", "{{ friends | random }}", r"messages\.1\.content, line 1: No filter named 'random'"),
        ("{{ times }} x", "{% include 'x' %}{{ times }}", r"messages\.1\.content, line 1: .* one file"),
        ("max_chars = 60", 'max_chars = 60\ntext = "x"', "messages or text, one of the two"),
        ("max_chars = 60", "max_chars = 0", "max_chars"),
        ("max_chars = 60", "max_chars = ", "is not TOML"),
        (
            '[[messages]]\nrole = "system"',
            '[[tests]]\ntext = "x"\n[[messages]]\nrole = "system"',
            r"tests\.0 must expect messages",
        ),
    ],
)
def test_a_mistake_in_a_file_is_refused_with_its_file_and_key(tmp_path, old, new, complaint):
    assert GREET.count(old) == 1
    with pytest.raises(SettingsError, match=complaint) as caught:
        templates(tmp_path, greet_1=GREET.replace(old, new))
    assert str(Path("greet", "1.toml")) in caught.value.message


@pytest.mark.parametrize(
    "place", ["greet.toml", "greet/v1.toml", "greet/0.toml", "greet/01.toml", "Greet/1.toml", "greet/1.tml"]
)
def test_a_file_in_another_place_is_refused_and_not_passed_over(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(ECHO)
    with pytest.raises(SettingsError, match=f"{place} must be <name>/<version>.toml"):
        read_prompt_templates(tmp_path)


def test_hidden_and_other_files_beside_the_names_are_passed_over(tmp_path):
    """A mounted ConfigMap has hidden folders, and a folder under version control a README."""
    write(tmp_path, "echo@1", ECHO)
    write(tmp_path / "..data", "echo@1", "broken")
    (tmp_path / "echo" / ".1.toml.swp").write_text("")
    (tmp_path / "README.md").write_text("")
    assert set(read_prompt_templates(tmp_path).names()) - set(read_prompt_templates(None).names()) == {"echo@1"}


def test_a_folder_may_add_a_version_and_not_redefine_one_that_ships(tmp_path):
    assert "summarize@7" in templates(tmp_path, summarize_7=ECHO).names()
    with pytest.raises(SettingsError, match=r"summarize/1.toml redefines summarize@1, which ships"):
        templates(tmp_path, summarize_1=ECHO)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"prompts folder .*nowhere cannot be read: No such file"):
        read_prompt_templates(tmp_path / "nowhere")


def test_a_failing_test_says_where_and_what(tmp_path):
    def test_of(variables: dict[str, Any], text: str) -> str:
        return f"[[tests]]\nvariables = {{ value = {json.dumps(variables['value'])} }}\ntext = {json.dumps(text)}\n"

    text = (
        ECHO
        + test_of({"value": "same"}, "same")
        + test_of({"value": "one line"}, "one lime")
        + test_of({"value": 5}, "")
    )
    assert failures(templates(tmp_path, echo_1=text).find("echo@1")) == [
        "tests.1: text at character 6: expected 'me', got 'ne'",
        "tests.2: prompt template echo@1: variable 'value' must be a string, got 5",
    ]


def test_a_failing_test_of_a_chat_names_the_message(tmp_path):
    system = '{ role = "system", content = "Be kind, 0.5" }'
    rest = [', { role = "user", content = "2 x Ana" }', ', { role = "assistant", content = "2 x Ana" }', ""]
    tests = [f'[[tests]]\nvariables = {{ name = "Ana" }}\nmessages = [{system}{more}]\n' for more in rest]
    first, second = failures(templates(tmp_path, greet_1=GREET + "".join(tests)).find("greet@1"))
    assert first == "tests.1: messages.1.role at character 0: expected 'assistant', got 'user'"
    assert second.startswith("tests.2: expected None, got ('messages.1.role', 'user')")


@pytest.mark.parametrize("name", read_prompt_templates(None).names())
def test_the_templates_that_ship_have_tests_and_pass_them(name):
    template = read_prompt_templates(None).find(name)
    assert template.file.tests
    assert failures(template) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "9" * 5000, "[" * 10_000])
def test_variables_that_are_no_json_object_are_refused(text):
    with pytest.raises(InvalidRequestError, match="prompt_variables"):
        read_prompt_variables(text)
    assert read_prompt_variables('{"a": ["b"]}') == {"a": ["b"]}
