"""The promise of chat templates to everyone else: no JSON brings one down."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import many
from tests.unit.text.chats_under_test import CHATS, SOURCES, TAKING_TOOLS, TOOL, template
from trident.errors import TridentError
from trident.text.chat_messages import ROLES, read_messages, read_tools, read_variables

DEEP = [("@nested@", "[" * n + "]" * n) for n in (90, 400, 990, 3000)] + [("@nested@", '{"a":' * 500 + "1" + "}" * 500)]
HUGE = [("@huge@", text) for text in ("9" * 4000, "9" * 5000, "1e999", "-1e-999", "NaN", "-Infinity")]
KEYS = (
    "role",
    "content",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "parameters",
    "properties",
    "type",
    "text",
    "id",
)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=8),  # halves of surrogate pairs too
    st.sampled_from(("", "object", "array", "</think>", "{{ 1 }}", "\ud83d", "@nested@", "@huge@")),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXTS,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(st.characters(), max_size=4)), inner, max_size=4),
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3)
CALLS = st.fixed_dictionaries(
    {
        "function": st.fixed_dictionaries(
            {"name": TEXTS, "arguments": st.one_of(OBJECTS, OBJECTS.map(json.dumps), TEXTS)}
        )
    },
    optional={"id": JSON, "type": JSON},
)
# What the OpenAI API knows is well formed here, and the rest is anything: this is what reaches the templates.
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(ROLES), "content": TEXTS},
        optional={
            "tool_calls": st.lists(CALLS, max_size=2),
            "tool_call_id": JSON,
            "name": JSON,
            "reasoning": JSON,
            "prefix": JSON,
        },
    ),
    min_size=1,
    max_size=4,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"type": JSON, "function": st.fixed_dictionaries({"name": JSON, "parameters": st.one_of(JSON, OBJECTS)})}
    ),
    max_size=2,
)
SWITCHES = st.dictionaries(
    st.sampled_from(("add_generation_prompt", "enable_thinking", "date_string", "custom_tools", "controls", "\udc00")),
    JSON,
    max_size=2,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a JSON value."""
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    return [place for key, inner in list(pairs) for place in ((value, key), *places(inner))]


@st.composite
def mutated(draw, valid: Any) -> Any:
    """A valid value with one or two of its parts replaced or removed."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from(places(value) or [({}, "")]))  # nothing may be left
        if draw(st.booleans()):
            container[key] = draw(JSON)
        elif isinstance(container, list):
            del container[key]
        else:
            container.pop(key, None)
    return value


def as_text(value: Any, replacements: tuple[tuple[str, str], ...]) -> str:
    """JSON in which a marker stands for what `json.dumps` would not write."""
    text = json.dumps(value)
    for marker, replacement in replacements:
        text = text.replace(f'"{marker}"', replacement)
    return text


def outcome(name: str, messages: str, tools: str, variables: str) -> str | TridentError:
    """The prompt or the refusal; any other exception is the test's failure."""
    try:
        return template(name).render(read_messages(messages), read_tools(tools), read_variables(variables))
    except TridentError as exc:
        return exc


@many(4)
@given(
    name=st.sampled_from(sorted(SOURCES)),
    messages=st.one_of(MESSAGES, MESSAGES, st.sampled_from(list(CHATS.values())).flatmap(mutated), JSON),
    tools=st.one_of(st.just([]), TOOLS, mutated([TOOL]), JSON),
    variables=st.one_of(st.just({}), st.just({}), SWITCHES, JSON),
    replacements=st.tuples(st.sampled_from(DEEP), st.sampled_from(HUGE)),
)
def test_whatever_json_comes_is_rendered_or_refused_in_one_line(name, messages, tools, variables, replacements):
    if name not in TAKING_TOOLS:
        tools = []
    answer = outcome(name, *(as_text(value, replacements) for value in (messages, tools, variables)))
    if isinstance(answer, TridentError):
        assert len(answer.message.splitlines()) == 1
        assert len(answer.message.encode()) < 2000
    else:
        assert answer.encode().decode() == answer
