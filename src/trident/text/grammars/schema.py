"""A JSON schema, written as a grammar of the JSON texts that keep it; a keyword that no grammar keeps is refused.

xgrammar has a converter of its own. That of OpenVINO GenAI 2026.4 drops keywords without a word (`not`, `uniqueItems`,
all of `allOf`), accepts 139 for maximum 135 and a raw tab for maxLength, and pastes property names into the grammar.

What is generated is JSON in the order of `properties`, and the declared ones alone where there are any. The grammar
may hold less than the schema allows (another order, numbers of more than 18 digits), never more. Long: the writer
of each type calls those of the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trident.errors import InvalidRequestError, did_you_mean
from trident.text.grammars.formats import STRING_FORMATS
from trident.text.grammars.json_schema import problem_with, referenced
from trident.text.grammars.numbers import ANY_INTEGER, ANY_NUMBER, Bound, integers, numbers
from trident.text.grammars.recursion import endless
from trident.text.grammars.regex import PLAIN_IN_JSON, char_class, compiled, grammar_of
from trident.text.grammars.regex_syntax import parse_regex
from trident.text.grammars.rules import NIL, GrammarRules, literal

MAX_PROPERTIES = 500  # of all objects together
MAX_VALUES = 1000  # of all enumerations together
MAX_ITEMS = 1000
MAX_LENGTH = 128  # of a string with a bound; each character costs the engine about 12 ms of compilation, once
_ANNOTATIONS = frozenset({
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema",
    "$defs", "definitions",
})  # fmt: skip
_OF_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OF_TYPE: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": _OF_NUMBERS,
    "integer": _OF_NUMBERS,
    "boolean": (),
    "null": (),
}
_HEX = "[0-9A-Fa-f]"
_ESCAPE = rf'["\\/bfnrt] | "u" ([0-9A-Ca-cEeFf] {_HEX} | [Dd] [0-7]) {_HEX} {_HEX}'  # no half surrogates
_ALONE = ("$ref", "anyOf", "allOf")  # what stands beside one of them a grammar cannot add to it
_KEPT = frozenset({"type", "enum", "const", *_ALONE, *(key for keys in _OF_TYPE.values() for key in keys)})
_NOT_KEPT = frozenset({
    "oneOf", "not", "if", "then", "else", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains",
    "unevaluatedItems", "unevaluatedProperties", "patternProperties", "propertyNames", "minProperties",
    "maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "additionalItems", "$anchor",
    "$dynamicRef", "$dynamicAnchor", "$id", "$recursiveRef", "contentEncoding", "contentMediaType", "contentSchema",
})  # fmt: skip
_HINTS = {"oneOf": "anyOf is kept", "additionalItems": "prefixItems is kept"}


def schema_grammar(schema: Any) -> str:
    """The grammar of a schema that is well-formed (see json_schema.py).

    Raises:
        InvalidRequestError: a keyword that is not kept, by name and JSON path, or a part that no value keeps.
    """
    return _Writer(schema).grammar()


class _Writer:
    """Walks one schema; every method returns an element of a rule."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._rules = GrammarRules()
        self._refs: dict[str, str] = {}  # $ref -> rule
        self._num_properties = 0
        self._num_values = 0
        self._space = self._rules.add(f'"" | " " | {literal(chr(10))} [ \\t]{{0,16}}')
        self._plain = char_class(PLAIN_IN_JSON)
        escape = self._rules.add(_ESCAPE)
        self._rest_of_string = self._rules.add(f'{NIL} {self._plain}* ("\\\\" {escape} {self._plain}*)* "\\""')
        self._string = self._rules.add(f'"\\"" {self._rest_of_string}')
        self._value_rule: str | None = None

    def grammar(self) -> str:
        root = self._element(self._root, "$")
        ref = endless({ref: referenced(self._root, ref, "$") for ref in self._refs}, _types)
        if ref is not None:
            raise self._error(f"no value keeps '{ref}': it requires itself without end")
        return self._rules.grammar(root)

    def _error(self, what: str) -> InvalidRequestError:
        return InvalidRequestError(f"guided_decoding_guide: {what}")

    def _element(self, node: Any, path: str) -> str:
        if node is False:
            raise self._error(f"no value keeps the schema at {path}")
        if node is True or not set(node) - _ANNOTATIONS:
            return self._any_value()
        self._check_keywords(node, path)
        if "$ref" in node:
            return self._referenced(node["$ref"], path)
        if "anyOf" in node:
            return self._rules.choice(
                [self._element(part, f"{path}.anyOf[{n}]") for n, part in enumerate(node["anyOf"])]
            )
        if "allOf" in node:
            if len(node["allOf"]) > 1:
                raise self._error(f"'allOf' at {path} has several parts, which cannot be kept; merge them")
            return self._element(node["allOf"][0], f"{path}.allOf[0]")
        if "enum" in node or "const" in node:
            return self._enumerated(node, path)
        kinds = [self._typed(kind, node, path) for kind in _types(node)]
        return self._rules.choice(kinds) if kinds else self._any_value()

    def _check_keywords(self, node: dict[str, Any], path: str) -> None:
        ignored = _ANNOTATIONS | {"$id"} if path == "$" else _ANNOTATIONS
        keys = [key for key in node if key not in ignored and not key.startswith("x-")]
        for key in keys:
            if key in _NOT_KEPT:
                hint = _HINTS.get(key, "leave it out")
                raise self._error(f"'{key}' at {path} cannot be kept by a grammar; {hint}")
            if key not in _KEPT:
                raise self._error(f"unknown keyword '{key}' at {path}{did_you_mean(key, _KEPT)}")
        alone = [key for key in keys if key in _ALONE]
        if alone and len(keys) > 1:
            other = next(key for key in keys if key != alone[0])
            raise self._error(f"'{other}' beside '{alone[0]}' at {path} cannot be kept by a grammar; merge them")

    def _typed(self, kind: str, node: dict[str, Any], path: str) -> str:
        if kind == "object":
            return self._object(node, path)
        if kind == "array":
            return self._array(node, path)
        if kind == "string":
            return self._text(node, path)
        if kind in ("number", "integer"):
            return self._number(kind, node, path)
        return self._rules.choice(['"true"', '"false"']) if kind == "boolean" else '"null"'

    def _any_value(self) -> str:
        if self._value_rule is None:
            self._value_rule = value = self._rules.reserve()
            number = grammar_of(ANY_NUMBER, self._rules)
            members = self._list(self._member(value), 0, None)
            items = self._list(value, 0, None)
            kinds = [f'"{{" {members} "}}"', f'"[" {items} "]"', self._string, number, '"true"', '"false"', '"null"']
            self._rules.fill(value, self._rules.choice(kinds))
        return self._value_rule

    def _member(self, value: str) -> str:
        """Any name and a value."""
        return f'{self._string} ":" {self._space} {value}'

    def _list(self, item: str, low: int, high: int | None) -> str:
        """`low` to `high` items, with commas between and room at both ends."""
        if high == 0:
            return self._space
        more = f'("," {self._space} {item}){{{max(0, low - 1)},{"" if high is None else high - 1}}}'
        if high == 1:
            more = NIL
        filled = f"{item} {more} {self._space}"
        return f"({self._space} ({filled}){'?' if low == 0 else ''})"

    def _referenced(self, ref: str, path: str) -> str:
        target = referenced(self._root, ref, path)
        if ref not in self._refs:
            self._refs[ref] = self._rules.reserve()
            self._rules.fill(self._refs[ref], f"{NIL} {self._element(target, ref.replace('#', '$').replace('/', '.'))}")
        return self._refs[ref]

    def _enumerated(self, node: dict[str, Any], path: str) -> str:
        values = [node["const"]] if "const" in node else node["enum"]
        self._num_values += len(values)
        if self._num_values > MAX_VALUES:
            raise self._error(f"more than {MAX_VALUES} enumerated values")
        kept = [value for value in values if problem_with(self._root, value, node) is None]
        if not kept:
            raise self._error(f"none of the values enumerated at {path} keeps the schema there")
        return self._rules.choice([literal(json.dumps(value, ensure_ascii=False)) for value in kept])

    def _object(self, node: dict[str, Any], path: str) -> str:
        properties, required = node.get("properties", {}), node.get("required", [])
        for name in required:
            if name not in properties:
                raise self._error(f"'{name}' is required at {path} but not among its properties")
        self._num_properties += len(properties)
        if self._num_properties > MAX_PROPERTIES:
            raise self._error(f"more than {MAX_PROPERTIES} properties")
        if properties:
            return f'("{{" {self._space} {self._members(properties, set(required), path)} {self._space} "}}")'
        others = node.get("additionalProperties", True)
        if others is False:
            return '"{}"'
        value = self._element(others, f"{path}.additionalProperties")
        members = self._list(self._member(value), 0, None)
        return f'("{{" {members} "}}")'

    def _members(self, properties: dict[str, Any], required: set[str], path: str) -> str:
        """Each property in its turn. `first` begins the object, `later` follows a member."""
        first = later = NIL
        for name, node in reversed(properties.items()):
            if node is False and name not in required:
                continue
            value = self._element(node, f"{path}.properties.{name}")
            key = literal(json.dumps(name, ensure_ascii=False) + ":")
            with_it = self._rules.add(f"{key} {self._space} {value} {later}")
            after = f'"," {self._space} {with_it}'
            if name in required:
                first, later = with_it, self._rules.add(after)
            else:
                first, later = self._rules.choice([with_it, first]), self._rules.choice([after, later])
        return first

    def _array(self, node: dict[str, Any], path: str) -> str:
        low, high = int(node.get("minItems", 0)), node.get("maxItems")
        high = None if high is None else int(high)
        if max(low, high or 0) > MAX_ITEMS or (high is not None and high < low):
            raise self._error(f"minItems to maxItems at {path} must be in 0..{MAX_ITEMS}, the lower first")
        items = node.get("prefixItems")
        if items:
            if low > len(items) or (high is not None and high < len(items)):
                raise self._error(f"minItems or maxItems at {path} is not the number of prefixItems ({len(items)})")
            listed = [self._element(item, f"{path}.prefixItems[{n}]") for n, item in enumerate(items)]
            joined = f' "," {self._space} '.join(listed)
            return f'("[" {self._space} {joined} {self._space} "]")'
        item = node.get("items", True)
        if item is False or high == 0:
            if low:
                raise self._error(f"no array keeps minItems {low} at {path}")
            return '"[]"'
        return f'("[" {self._list(self._element(item, f"{path}.items"), low, high)} "]")'

    def _text(self, node: dict[str, Any], path: str) -> str:
        keys = [key for key in ("pattern", "format", "minLength", "maxLength") if key in node]
        if keys and keys[0] in ("pattern", "format"):
            if len(keys) > 1:
                raise self._error(f"'{keys[1]}' beside '{keys[0]}' at {path} cannot be kept by a grammar; merge them")
            known = STRING_FORMATS if keys[0] == "format" else {node["pattern"]: node["pattern"]}
            if node[keys[0]] not in known:
                raise self._error(f"unknown format '{node['format']}' at {path}; known are {', '.join(known)}")
            tree = parse_regex(known[node[keys[0]]], f"guided_decoding_guide: the pattern at {path}")
            compiled(tree, f"guided_decoding_guide: the pattern at {path}")
            return f'("\\"" {grammar_of(tree, self._rules, is_in_json=True)} "\\"")'
        low, high = int(node.get("minLength", 0)), node.get("maxLength")
        if max(low, high or 0) > MAX_LENGTH or (high is not None and high < low):
            raise self._error(f"minLength to maxLength at {path} must be in 0..{MAX_LENGTH}, the lower first")
        rest = self._rest_of_string if high is None else '"\\""'
        for left in range(1, 1 + (low if high is None else int(high))):
            more = f"{self._plain} {rest}"
            can_end = high is not None and left <= high - low
            rest = self._rules.add(f'"\\"" | {more}' if can_end else more)
        return f'("\\"" {rest})'

    def _number(self, kind: str, node: dict[str, Any], path: str) -> str:
        ends = {key: Bound(Decimal(repr(node[key])), key.startswith("exclusive")) for key in _OF_NUMBERS if key in node}
        if not ends:
            return grammar_of(ANY_INTEGER if kind == "integer" else ANY_NUMBER, self._rules)
        low = max(
            (end for key, end in ends.items() if "inimum" in key),
            key=lambda end: (end.value, end.is_open),
            default=None,
        )
        high = min(
            (end for key, end in ends.items() if "aximum" in key),
            key=lambda end: (end.value, not end.is_open),
            default=None,
        )
        tree = (integers if kind == "integer" else numbers)(low, high)
        if tree is None:
            raise self._error(f"no {kind} is between the bounds at {path}")
        return grammar_of(tree, self._rules)


def _types(node: Mapping[str, Any]) -> list[str]:
    """The types it names, or else those that its keywords are for."""
    named = node.get("type") or [kind for kind, keys in _OF_TYPE.items() if set(keys) & set(node)]
    return [named] if isinstance(named, str) else [kind for kind in _OF_TYPE if kind in named]
