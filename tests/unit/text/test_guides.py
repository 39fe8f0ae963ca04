"""Promises of the guides: read once, refused in one line when they cannot be kept, checked at the end."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.examples import many
from trident.errors import InvalidRequestError
from trident.text.guides import Guide, GuideKind, grammar_of_guide, problem_of, read_guide

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}
TAG = {"type": "structural_tag", "format": {"type": "const_string", "value": "x"}}


def schema(value) -> Guide:
    return read_guide(b"json_schema", json.dumps(value).encode())


@pytest.mark.parametrize(("kind", "text"), [(None, None), (b"", b""), (None, b""), (b"", None)])
def test_no_guide_is_none(kind, text):
    assert read_guide(kind, text) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("json", ""),
        ("json_schema", json.dumps(PERSON)),
        ("json_schema", "true"),
        ("regex", r"\d{3}"),
        ("ebnf_grammar", 'root ::= "a"'),
        ("structural_tag", json.dumps(TAG)),
    ],
)
def test_a_guide_of_every_kind_is_read_as_it_was_sent(kind, text):
    assert read_guide(kind.encode(), text.encode()) == Guide(GuideKind(kind), text)


BAD = [
    (None, b"{}", "guided_decoding_guide needs guided_decoding_guide_type (json, json_schema, regex,"),
    (b"json_schema", None, "guided_decoding_guide_type 'json_schema' needs a guided_decoding_guide"),
    (b"regex", b"", "guided_decoding_guide_type 'regex' needs a guided_decoding_guide"),
    (b"json", b"{}", "guided_decoding_guide_type 'json' takes no guided_decoding_guide; 'json_schema' does"),
    (b"jsonschema", b"{}", "unknown guided_decoding_guide_type 'jsonschema'; did you mean 'json_schema'?"),
    (b"\xff\xfe", b"{}", "unknown guided_decoding_guide_type"),
    (b"xml", b"{}", "known are json, json_schema, regex, ebnf_grammar, structural_tag"),
    (b"regex", b"\xff", "guided_decoding_guide is not valid UTF-8 (byte 0)"),
    (b"regex", b"a\0b", "holds a NUL character"),
    (b"regex", b"a" * 65537, "guided_decoding_guide has 65537 bytes, at most 65536 are taken"),
    (b"json_schema", b"{", "guided_decoding_guide is not valid JSON"),
    (b"json_schema", b"", "needs a guided_decoding_guide"),
    (b"json_schema", b'{"const": NaN}', "NaN is not a JSON number"),
    (b"json_schema", b'{"minimum": 1e999}', "the number 1e999 is too large"),
    (b"json_schema", b'{"minimum": ' + b"1" * 5000 + b"}", "guided_decoding_guide is not valid JSON"),
    (b"json_schema", b'{"const": "\\ud800"}', "guided_decoding_guide is not valid JSON"),
    (b"json_schema", b'{"type": "null", "type": "string"}', "the name 'type' stands twice"),
    (b"json_schema", b'{"items": ' * 70 + b"{}" + b"}" * 70, "guided_decoding_guide nests deeper than 64 levels"),
    (b"json_schema", b"[" * 60000, "guided_decoding_guide is not valid JSON"),
    (b"json_schema", b"[" * 30000 + b"]" * 30000, "guided_decoding_guide"),
    (b"json_schema", b"[]", "guided_decoding_guide: $: [] is not of type 'object', 'boolean'"),
    (b"json_schema", b'{"type": "strin"}', "guided_decoding_guide: $.type: 'strin' is not valid under any"),
    (b"json_schema", b'{"properties": {"a": {"minLength": "3"}}}', "$.properties.a.minLength: '3' is not of type"),
    (b"json_schema", b'{"required": "a"}', "$.required: 'a' is not of type 'array'"),
    (b"json_schema", b'{"items": [{"type": "null"}]}', "$.items:"),
    (b"json_schema", b'{"not": {}}', "'not' at $ cannot be kept by a grammar"),
    (b"json_schema", b'{"$ref": "http://127.0.0.1:1/x"}', "the $ref 'http://127.0.0.1:1/x' at $ leads nowhere"),
    (b"regex", b"(?=a)b", "guided_decoding_guide uses look-ahead, which is not supported, at character 3"),
    (b"regex", rb"(a)\1", "a back-reference"),
    (b"regex", b"(a", "lacks a ')'"),
    (b"regex", b"((a{100}b){100}c){100}", "stands for too many states"),
    (b"ebnf_grammar", b"root = a", "has no rule 'root'"),
    (b"structural_tag", b"{}", "$ must be an object with the type 'structural_tag'"),
    (b"structural_tag", b"nonsense", "guided_decoding_guide is not valid JSON"),
]


@pytest.mark.parametrize(("kind", "text", "complaint"), BAD, ids=[complaint[:50] for *_, complaint in BAD])
def test_what_cannot_be_kept_is_refused_in_one_line(kind, text, complaint):
    with pytest.raises(InvalidRequestError) as caught:
        read_guide(kind, text)
    assert complaint in caught.value.message
    assert len(caught.value.message) < 500


def test_a_long_name_of_the_caller_s_does_not_make_a_long_message():
    with pytest.raises(InvalidRequestError) as caught:
        schema({"properties": {"x" * 5000: {"not": {}}}})
    assert len(caught.value.message) < 500


PIECES = st.sampled_from(
    ['{"type":', '"object"', "}", "[", "]", ":", ",", '"$ref"', '"#"', "true", "1e9", "(", ")", "a", "\\", "*", "{2,3}",
     "[^", "-", "]", "|", "?", "root ::= ", '"', "\n", "::=", "é", "🙂", "\x7f", "(?", "<n>", "$", "^", "anyOf", "#"]
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "properties", "items", "anyOf", "enum", "$ref", "pattern", "minLength", "required", "format", "a",
             "elements", "content", "begin", "end", "tags", "triggers", "structures"]
        ),
        inner | st.sampled_from(["string", "object", "#", "tag", "sequence"]),
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
TEXTS = st.one_of(
    st.binary(max_size=60),
    st.lists(PIECES, max_size=14).map(lambda parts: "".join(parts).encode()),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    JSON_VALUES.map(lambda value: json.dumps({"type": "structural_tag", "format": value}).encode()),
)


@given(kind=st.sampled_from([kind.value.encode() for kind in GuideKind]) | st.binary(max_size=8), text=TEXTS)
@many(4)
@example(kind=b"json_schema", text=b'{"$ref": "#"}')
@example(kind=b"json_schema", text=b'{"enum": [1], "items": {"$ref": "#"}}')
@example(kind=b"json_schema", text=b'{"enum": [1], "pattern": "("}')
def test_whatever_is_sent_it_is_read_or_refused(kind, text):
    try:
        guide = read_guide(kind, text)
    except InvalidRequestError as exc:
        assert exc.message  # noqa: PT017 - there is no more to promise
        return
    if guide is not None:
        if guide.kind is not GuideKind.STRUCTURAL_TAG:
            assert "root" in grammar_of_guide(guide)
        problem_of(guide, "{}")


@given(st.text(max_size=40) | JSON_VALUES.map(json.dumps))
@many(3)
def test_whatever_was_generated_it_is_checked(text):
    problem = problem_of(schema(PERSON), text)
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    age = value.get("age") if isinstance(value, dict) else None
    is_person = isinstance(age, int) and age >= 0 and isinstance(value.get("name"), str)
    assert (problem is None) == is_person


@pytest.mark.parametrize(
    ("guide", "text", "problem"),
    [
        (read_guide(b"json", b""), '{"a": [1, "x"]}', None),
        (read_guide(b"json", b""), "[]", None),
        (read_guide(b"json", b""), "17", "$: 17 is not of type 'object', 'array'"),
        (read_guide(b"json", b""), '{"a": 1', "the text is not valid JSON"),
        (read_guide(b"json", b""), '{"a": NaN}', "NaN is not a JSON number"),
        (schema(PERSON), '{"name": "x", "age": 3}', None),
        (schema(PERSON), '{"name": "x", "age": -3}', "$.age: -3 is less than the minimum of 0"),
        (schema(PERSON), '{"name": "x"}', "$: 'age' is a required property"),
        (schema({"type": "string", "pattern": "[ab]+"}), '"abc"', "$: 'abc' does not match '[ab]+'"),
        (schema({"type": "string", "pattern": "(a*)*b"}), json.dumps("a" * 5000), "does not match"),
        (read_guide(b"regex", rb"\d{3}"), "123", None),
        (read_guide(b"regex", rb"\d{3}"), "1234", "the text does not match the regular expression"),
        (read_guide(b"regex", b"(a*)*b"), "a" * 5000, "the text does not match the regular expression"),
        (read_guide(b"ebnf_grammar", b'root ::= "a"'), "b", None),
        (read_guide(b"structural_tag", json.dumps(TAG).encode()), "b", None),
    ],
)
def test_a_finished_text_is_checked_where_that_can_be(guide, text, problem):
    found = problem_of(guide, text)
    assert (found is None) if problem is None else (problem in found)


def test_what_generation_allows_twice_or_deep_is_no_problem():
    """Grammars do not count: a map may name a key twice, and a value may nest deeper than a guide may."""
    assert problem_of(read_guide(b"json", b""), '{"a": 1, "a": 2}') is None
    assert problem_of(read_guide(b"json", b""), "[" * 500 + "]" * 500) is None
    assert problem_of(schema({"items": {"$ref": "#"}}), "[" * 5000 + "]" * 5000) is None


def test_nothing_is_fetched(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    remote = {"$schema": "http://example.com/dialect", "$id": "http://example.com/a", "$ref": "http://example.com/b"}
    with pytest.raises(InvalidRequestError, match="leads nowhere"):
        schema(remote)
    own = {"$schema": "http://example.com/x", "$id": "http://example.com/a", "items": {"$ref": "#"}}
    assert problem_of(schema(own), "[[], []]") is None
