"""What a field of a class means, for the reference: from the comment beside or above it, or from pydantic's `Field`.

An extension of griffe, which itself reads docstrings only. Of a `Field` it shows the default as the value, and the
description with the bounds.
"""

from __future__ import annotations

import ast
import io
import textwrap
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import griffe

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_DIRECTIVES = ("noqa", "type:", "fmt:")


class FieldDocs(griffe.Extension):
    """Gives fields without a docstring one."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Called by griffe for each attribute that it finds."""
        if attr.docstring is not None or not isinstance(attr.parent, griffe.Class) or attr.lineno is None:
            return
        text = _beside(attr) or _above(attr)
        if isinstance(attr.value, griffe.ExprCall) and str(attr.value.function) == "Field":
            text = _read_field(attr, attr.value) or text
        if text:
            attr.docstring = griffe.Docstring(text[0].upper() + text[1:], parent=attr)


@cache
def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _beside(attr: griffe.Attribute) -> str:
    lines = _lines(Path(str(attr.filepath)))[attr.lineno - 1 : attr.endlineno]
    found = tokenize.generate_tokens(io.StringIO(textwrap.dedent("\n".join(lines))).readline)
    comments = [token.string.lstrip("# ") for token in found if token.type == tokenize.COMMENT]
    return "; ".join(each for each in comments if not each.startswith(_DIRECTIVES))


def _above(attr: griffe.Attribute) -> str:
    lines, number, found = _lines(Path(str(attr.filepath))), attr.lineno - 2, []
    while lines[number].lstrip().startswith("#"):
        found.append(lines[number].lstrip("# "))
        number -= 1
    return " ".join(reversed(found))


def _read_field(attr: griffe.Attribute, call: griffe.ExprCall) -> str:
    """The description and the bounds; the attribute's value becomes the default."""
    keywords = {each.name: each.value for each in call.arguments if isinstance(each, griffe.ExprKeyword)}
    defaults = [each for each in call.arguments if not isinstance(each, griffe.ExprKeyword)]
    attr.value = defaults[0] if defaults else keywords.get("default_factory")
    # An f-string shows the name of what it puts in.
    said = [ast.literal_eval(str(keywords["description"]).lstrip("f"))] if "description" in keywords else []
    bounds = [f"{word} {keywords[name]}" for name, word in _BOUNDS.items() if name in keywords]
    return "; ".join([*said, *bounds])
