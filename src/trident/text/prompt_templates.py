"""Named prompts, asked for as `name@version`: those that ship, and those of the operator's folder.

What a version says does not change with the release that serves it, so a name without a version is refused.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trident.errors import InvalidRequestError, SettingsError
from trident.text.prompt_template import PromptTemplate, RenderedPrompt, hint, quoted

NAME = re.compile(r"[a-z0-9_-]+")
VERSION_FILE = re.compile(r"[1-9][0-9]*\.toml")


class PromptTemplates:
    """All named prompts of a deployment."""

    def __init__(self, templates: Iterable[PromptTemplate]) -> None:
        self._templates = {template.name: template for template in sorted(templates, key=_order)}

    @property
    def sha256(self) -> str:
        """Of all of them, hexadecimal."""
        told = [f"{name} {template.sha256}" for name, template in self._templates.items()]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def names(self) -> list[str]:
        """Each as "name@version", names in order and versions by number."""
        return list(self._templates)

    def find(self, name: str) -> PromptTemplate:
        """The template called `name`, "name@version".

        Raises:
            InvalidRequestError: no such name (the nearest is named), no such version or none given (what there is
                is named).
        """
        if name in self._templates:
            return self._templates[name]
        stem, _, version = name.partition("@")
        versions = [key.partition("@")[2] for key in self._templates if key.partition("@")[0] == stem]
        if versions and not version:
            raise InvalidRequestError(
                f"prompt template '{stem}' needs a version, so that its words never change unasked; "
                f"the newest is '{stem}@{versions[-1]}'"
            )
        if versions:
            raise InvalidRequestError(
                f"prompt template '{stem}' has no version '{quoted(version)}'; there: {', '.join(versions)}"
            )
        raise InvalidRequestError(f"no prompt template '{quoted(name)}'{hint(name, self._templates)}")

    def render(self, name: str, variables: Mapping[str, Any]) -> RenderedPrompt:
        """The prompt that the template `name` makes of `variables`; see `find` and `PromptTemplate.render`."""
        return self.find(name).render(variables)


def _order(template: PromptTemplate) -> tuple[str, int]:
    name, _, version = template.name.partition("@")
    return name, int(version)


def _read_folder(folder: Path) -> list[PromptTemplate]:
    templates = []
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        inside = [(path, sorted(path.iterdir()) if path.is_dir() else []) for path in paths]
    except OSError as exc:
        raise SettingsError(f"prompts folder {folder} cannot be read: {exc.strerror}") from exc
    for path, files in inside:
        for file in (path,) if path.suffix == ".toml" else files:
            if file.name.startswith("."):
                continue
            if file is path or not VERSION_FILE.fullmatch(file.name) or not NAME.fullmatch(path.name):
                raise SettingsError(
                    f"prompts folder: {file} must be <name>/<version>.toml, "
                    "name of a-z, 0-9, _ and -, version a number from 1"
                )
            templates.append(PromptTemplate(f"{path.name}@{file.stem}", file))
    return templates


def read_prompt_templates(folder: Path | None) -> PromptTemplates:
    """The templates that ship with Trident, and those of `folder` when there is one.

    Raises:
        SettingsError: the folder or a file cannot be read or used, or a file redefines a template that ships.
    """
    shipped = _read_folder(Path(str(importlib.resources.files("trident"))) / "prompts")
    added = _read_folder(folder) if folder is not None else []
    names = {template.name for template in shipped}
    for template in added:
        if template.name in names:
            raise SettingsError(
                f"prompts folder {folder}: {template.name.replace('@', '/')}.toml redefines {template.name}, "
                "which ships with Trident; give it another version or name"
            )
    return PromptTemplates([*shipped, *added])


def read_prompt_variables(text: str) -> dict[str, Any]:
    """`prompt_variables` from the JSON of a request: an object, each value checked when it is rendered.

    Raises:
        InvalidRequestError: not a JSON object.
    """
    try:
        variables = json.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: also a number of more than 4300 digits
        raise InvalidRequestError(f"prompt_variables is not valid JSON: {exc}") from exc
    if not isinstance(variables, dict):
        raise InvalidRequestError("prompt_variables must be a JSON object")
    return variables
