"""One version of a named prompt as its TOML file says it: typed, frozen, unknown keys refused.

    description = "..."
    [variables.sentences]     # type: string, integer, number, boolean or strings (a list of them)
    type = "integer"
    minimum = 1               # and maximum; strings have max_chars; all but boolean have choices
    default = 2               # without one a request must send it
    [[messages]]              # or text = "...", for a prompt that is no chat
    role = "user"
    content = "..."           # Jinja over the variables, and nothing else
    [[tests]]                 # variables, and the messages or the text that they must give

It knows the values that a variable takes, and nothing of rendering.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trident.errors import SettingsError, did_you_mean
from trident.faults import explain_invalid

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11

MAX_CHARS = 100_000  # of all values of one request, unless the file says otherwise
MAX_STRINGS = 1000  # in one list
INT64 = range(-(2**63), 2**63)

Item = TypeVar("Item")
Array = Annotated[tuple[Item, ...], Field(strict=False, min_length=1)]  # TOML reads as a list
Scalar = str | int | float | bool
_IS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and value in INT64,
    "number": lambda value: _IS["integer"](value) or (isinstance(value, float) and math.isfinite(value)),
    "boolean": lambda value: isinstance(value, bool),
    "strings": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
}
_CALLED = {
    "string": "a string",
    "integer": "an integer of 64 bits",
    "number": "a finite number",
    "boolean": "true or false",
    "strings": "a list of strings",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"unknown key '{key}'{did_you_mean(key, cls.model_fields)}")
        return data


def num_chars(value: Any) -> int:
    """Characters of a value's text: its own, or of all strings of a list."""
    if isinstance(value, list):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


class Variable(_Part):
    """What one variable may be."""

    type: Literal["string", "integer", "number", "boolean", "strings"]
    description: str = ""
    default: Scalar | list[str] | None = None
    choices: Array[Scalar] | None = None  # for each item, where type is strings
    max_chars: int | None = Field(default=None, ge=1)  # of all items together, where type is strings
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _keys_agree(self) -> Variable:
        if self.max_chars is not None and self.type not in {"string", "strings"}:
            raise ValueError(f"max_chars is for string and strings, not for {self.type}")
        if (self.minimum, self.maximum) != (None, None) and self.type not in {"integer", "number"}:
            raise ValueError(f"minimum and maximum are for integer and number, not for {self.type}")
        if self.choices is not None and self.type == "boolean":
            raise ValueError("choices are not for boolean")
        kind = "string" if self.type == "strings" else self.type
        for choice in self.choices or ():
            if not _IS[kind](choice):
                raise ValueError(f"each of choices must be {_CALLED[kind]}, got {choice!r}")
        if self.default is not None and (complaint := self.complaint(self.default)):
            raise ValueError(f"default {complaint}")
        return self

    def complaint(self, value: Any) -> str | None:
        """What is wrong with `value`, to be said after the variable's name; None when it may be used."""
        if not _IS[self.type](value):
            return f"must be {_CALLED[self.type]}, got {reprlib.repr(value)}"
        items = value if isinstance(value, list) else [value]
        if len(items) > MAX_STRINGS:
            return f"has {len(items)} strings, at most {MAX_STRINGS} are taken"
        if any(isinstance(item, str) and not _is_text(item) for item in items):
            return "holds half of a surrogate pair, which is no character"
        if self.max_chars is not None and num_chars(value) > self.max_chars:
            return f"has {num_chars(value)} characters, at most {self.max_chars} are taken"
        return next(
            (f"must be {bounds}, got {reprlib.repr(item)}" for item in items for bounds in self._missed(item)), None
        )

    def _missed(self, item: Any) -> Iterator[str]:
        if self.choices is not None and item not in self.choices:
            yield f"one of {', '.join(map(repr, self.choices))}"
        if self.minimum is not None and item < self.minimum:
            yield f"at least {self.minimum:g}"
        if self.maximum is not None and item > self.maximum:
            yield f"at most {self.maximum:g}"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Message(_Part):
    """One message, as a template or as a test expects it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class PromptTest(_Part):
    """Variables, and what they must give to the character."""

    variables: dict[str, Any] = Field(default_factory=dict)
    messages: Array[Message] | None = None
    text: str | None = None


class PromptFile(_Part):
    """The whole file."""

    description: str = Field(min_length=1)
    max_chars: int = Field(default=MAX_CHARS, ge=1)  # of all values together
    variables: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Variable] = Field(default_factory=dict)
    messages: Array[Message] | None = None
    text: str | None = None
    tests: Array[PromptTest] = ()

    @model_validator(mode="after")
    def _is_a_chat_or_a_text(self) -> PromptFile:
        if (self.messages is None) == (self.text is None):
            raise ValueError("a template has messages or text, one of the two")
        for number, test in enumerate(self.tests):
            if (test.messages is None) != (self.messages is None) or (test.text is None) != (self.text is None):
                kind = "text" if self.messages is None else "messages"
                raise ValueError(f"tests.{number} must expect {kind}, as the template gives")
        return self


def read_prompt_file(path: Path, data: bytes) -> PromptFile:
    """The template in `data`, which was read from `path`.

    Raises:
        SettingsError: not TOML, an unknown key, a value of the wrong type or out of range; file and key are named.
    """
    try:
        return PromptFile.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"prompt template {path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise SettingsError(f"prompt template {path}: {explain_invalid(exc, PromptFile)}") from exc
