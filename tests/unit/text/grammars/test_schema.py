"""Promises of the schema's grammar: each of its texts keeps the schema, and a keyword it cannot keep is refused."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.grammars.derivations import Grammar
from trident.errors import InvalidRequestError
from trident.text.grammars.formats import STRING_FORMATS
from trident.text.grammars.json_schema import check_against_metaschema, problem_with_text
from trident.text.grammars.schema import schema_grammar

NAMES = st.sampled_from(["a", "b c", "é", 'x"y', "\\", "🙂", "a:", "\n", ""])
VALUES = st.sampled_from([None, True, 0, -1.5, "x", 'q"\\\n', [], [1, "a"], {"k": {}}])
NUMBERS = st.integers(-200, 200) | st.integers(-2000, 2000).map(lambda value: value / 100)


def _with(**fields) -> st.SearchStrategy[dict]:
    """Objects with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def _bounded(draw, kind):
    low = draw(NUMBERS)
    bounds = {draw(st.sampled_from(["minimum", "exclusiveMinimum"])): low}
    bounds[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + draw(st.integers(2, 500))
    kept = draw(st.sets(st.sampled_from(sorted(bounds))))
    return {"type": kind, **{key: bounds[key] for key in kept}}


@st.composite
def _sized(draw, kind, low_key, high_key, **fields):
    low = draw(st.integers(0, 3))
    sizes = {low_key: low, high_key: low + draw(st.integers(0, 3))}
    kept = draw(st.sets(st.sampled_from(sorted(sizes))))
    return {"type": kind, **{key: sizes[key] for key in kept}, **draw(_with(**fields))}


LEAVES = st.one_of(
    st.just(True),
    st.just({}),
    st.sampled_from([{"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "object", "array")]),
    st.sampled_from([{"type": ["string", "null"], "maxLength": 2}, {"const": {"z": "\\"}}, {"minLength": 1}]),
    st.sampled_from([{"type": "string", "pattern": text} for text in ("^[a-c]+$", ".*", '"', "^\\\\|\n$", "[^x]{2}")]),
    st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    _bounded("integer"),
    _bounded("number"),
    _sized("string", "minLength", "maxLength"),
)


@st.composite
def _objects(draw, inner):
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = draw(st.sets(st.sampled_from(sorted(properties)))) if properties else set()
    more = draw(_with(additionalProperties=st.booleans() | inner))
    return {"type": "object", "properties": properties, "required": sorted(required), **more}


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        _objects(inner),
        _sized("array", "minItems", "maxItems", items=inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"type": "array", "prefixItems": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        inner.map(lambda part: {"allOf": [part], "description": "d"}),
    ),
    max_leaves=6,
)


def derived(schema, number: int) -> list[str]:
    """So many random texts of its grammar."""
    grammar = Grammar(schema_grammar(schema))
    return [grammar.derive(random.Random(seed)) for seed in range(number)]


def derive(schema, seed: int = 0) -> str:
    return Grammar(schema_grammar(schema)).derive(random.Random(seed))


@given(schema=SCHEMAS, seed=st.integers(0, 10**6))
@many(3)
def test_every_text_of_the_grammar_is_json_that_keeps_the_schema(schema, seed):
    try:
        text = derive(schema, seed)
    except InvalidRequestError as exc:
        assert "between the bounds" in exc.message  # noqa: PT017 - no integer between 0.1 and 0.9
        return
    assert problem_with_text(schema, text) is None, text


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "children"],
        }
    },
}


@pytest.mark.parametrize(
    "schema", [TREE, {"type": "array", "items": {"$ref": "#"}}, {"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}]}]
)
def test_a_schema_may_refer_to_itself(schema):
    for text in derived(schema, 20):
        assert problem_with_text(schema, text) is None, text


def test_properties_come_in_their_order_and_only_the_declared_ones():
    schema = {"properties": {"b": {"type": "null"}, "a": {"type": "null"}, "c": {"type": "null"}}, "required": ["a"]}
    texts = {"".join(text.split()) for text in derived(schema, 200)}
    assert texts == {'{"a":null}', '{"b":null,"a":null}', '{"a":null,"c":null}', '{"b":null,"a":null,"c":null}'}


def test_optional_properties_may_all_be_missing():
    schema = {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}}
    texts = {"".join(text.split()) for text in derived(schema, 200)}
    assert texts == {"{}", '{"a":1}', '{"b":2}', '{"a":1,"b":2}'}


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 3), (2, 2), (2, 4), (3, None)])
def test_lengths_are_kept_exactly(low, high):
    bounds = {"minLength": low} | ({} if high is None else {"maxLength": high})
    lengths = {len(json.loads(text)) for text in derived({"type": "string", **bounds}, 300)}
    assert min(lengths) == low
    assert high is None or lengths == set(range(low, high + 1))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (0, 3), (1, 1), (2, 4)])
def test_numbers_of_items_are_kept_exactly(low, high):
    schema = {"type": "array", "items": {"type": "null"}, "minItems": low, "maxItems": high}
    assert {len(json.loads(text)) for text in derived(schema, 200)} == set(range(low, high + 1))


EXAMPLES = {
    "date": ("2024-11-21", "2024-13-01"),
    "time": ("07:30:59Z", "25:00:00Z"),
    "date-time": ("2024-11-21T07:30:59.5+02:00", "2024-11-21 07:30"),
    "duration": ("P1Y2M3DT4H5M6S", "P"),
    "email": ("john.doe+x@mail.example.com", "john@"),
    "hostname": ("a-b.example", "-a"),
    "ipv4": ("255.0.13.9", "256.1.1.1"),
    "ipv6": ("2001:db8::1", "1::2::3"),
    "uuid": ("123e4567-e89b-12d3-a456-426614174000", "123e4567"),
    "uri": ("https://example.com/a/b?c=d#e", "no scheme"),
}


@pytest.mark.parametrize("name", sorted(STRING_FORMATS))
def test_a_format_is_generated_and_not_merely_noted(name):
    good, bad = EXAMPLES[name]
    as_pattern = {"type": "string", "pattern": STRING_FORMATS[name]}
    assert problem_with_text(as_pattern, json.dumps(good)) is None
    assert problem_with_text(as_pattern, json.dumps(bad)) is not None
    for text in derived({"type": "string", "format": name}, 30):
        assert problem_with_text(as_pattern, text) is None


NOT_KEPT = [
    ({"oneOf": [{"type": "null"}]}, "'oneOf' at $ cannot be kept by a grammar; anyOf is kept"),
    ({"not": {}}, "'not' at $ cannot be kept"),
    ({"type": "integer", "multipleOf": 5}, "'multipleOf' at $"),
    ({"properties": {"tags": {"type": "array", "uniqueItems": True}}}, "'uniqueItems' at $.properties.tags"),
    ({"type": "array", "contains": {}}, "'contains' at $"),
    ({"type": "object", "patternProperties": {"x": {}}}, "'patternProperties' at $"),
    ({"type": "object", "minProperties": 1}, "'minProperties' at $"),
    ({"type": "object", "properties": {}, "if": {}}, "'if' at $"),
    ({"type": "object", "propertys": {}}, "unknown keyword 'propertys' at $; did you mean 'properties'?"),
    ({"items": {"anyOf": [{"nullable": True}]}}, "unknown keyword 'nullable' at $.items.anyOf[0]"),
    ({"anyOf": [{}], "type": "object"}, "'type' beside 'anyOf' at $ cannot be kept"),
    ({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": {}}}, "'minLength' beside '$ref' at $"),
    ({"allOf": [{}, {}]}, "'allOf' at $ has several parts"),
    ({"type": "string", "pattern": "a", "maxLength": 3}, "'maxLength' beside 'pattern' at $"),
    ({"type": "string", "format": "date", "pattern": "a"}, "'format' beside 'pattern' at $"),
    ({"type": "string", "format": "credit-card"}, "unknown format 'credit-card' at $; known are date,"),
    ({"type": "string", "pattern": "(?=a)"}, "the pattern at $ uses look-ahead"),
    ({"type": "string", "maxLength": 129}, "minLength to maxLength at $ must be in 0..128"),
    ({"type": "string", "minLength": 3, "maxLength": 2}, "the lower first"),
    ({"type": "array", "maxItems": 1001}, "minItems to maxItems at $ must be in 0..1000"),
    ({"type": "array", "items": False, "minItems": 1}, "no array keeps minItems 1 at $"),
    ({"type": "array", "prefixItems": [{}], "minItems": 2}, "is not the number of prefixItems (1)"),
    ({"type": "integer", "minimum": 0.1, "maximum": 0.9}, "no integer is between the bounds at $"),
    ({"type": "object", "required": ["a"]}, "'a' is required at $ but not among its properties"),
    ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "no value keeps the schema at $.properties.a"),
    (False, "no value keeps the schema at $"),
    ({"type": "string", "enum": [1, 2]}, "none of the values enumerated at $ keeps the schema"),
    ({"enum": list(range(1001))}, "more than 1000 enumerated values"),
    ({"properties": {str(n): {} for n in range(501)}}, "more than 500 properties"),
    ({"$ref": "https://example.com/schema.json"}, "leads nowhere; '#' and '#/$defs/NAME' are followed"),
    ({"$ref": "file:///etc/passwd"}, "leads nowhere"),
    ({"$ref": "#/$defs/missing"}, "leads nowhere"),
    ({"anyOf": [{"$ref": "#/anyOf/0"}]}, "leads nowhere"),
    ({"properties": {"c": {"$ref": "#"}}, "required": ["c"]}, "no value keeps '#': it requires itself without end"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "requires itself without end"),
    ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "requires itself without end"),
]


@pytest.mark.parametrize(("schema", "complaint"), NOT_KEPT, ids=[complaint[:50] for _, complaint in NOT_KEPT])
def test_what_a_grammar_cannot_keep_is_refused_by_name_and_path(schema, complaint):
    with pytest.raises(InvalidRequestError) as caught:
        schema_grammar(schema)
    assert complaint in caught.value.message


def test_annotations_are_let_pass():
    plain, annotated = {"type": "null"}, {"type": "null", "title": "t", "default": 3, "x-order": 1, "$comment": "c"}
    assert schema_grammar(plain) == schema_grammar(annotated)
    assert schema_grammar(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:x"}
    ) == schema_grammar({})


def test_additional_properties_make_a_map_where_none_are_declared():
    schema = {"type": "object", "additionalProperties": {"type": "null"}}
    assert {len(json.loads(text)) > 0 for text in derived(schema, 50)} == {True, False}
    assert derive({"type": "object", "additionalProperties": False}) == "{}"


@given(SCHEMAS)
@many(2)
def test_the_schemas_of_these_tests_are_schemas(schema):
    check_against_metaschema(schema)
