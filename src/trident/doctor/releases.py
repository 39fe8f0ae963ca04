"""NVIDIA's Triton images: what is in each, and which security bulletins it is still open to.

`nvidia_images.json` is the only place with these figures. Sources: the compatibility matrix of
triton-inference-server/server (docs/introduction/compatibility.md) and NVIDIA's product-security
bulletins, as of the date in the file; docs/security.md explains them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = "nvcr.io/nvidia/tritonserver"


@dataclass(frozen=True)
class Image:
    """One release of NVIDIA's image with TensorRT-LLM. What the matrix does not say is None."""

    release: str  # "26.07"
    tensorrt_llm: str
    tensorrt: str | None = None
    cuda: str | None = None
    driver: str | None = None  # that it was made with
    python: str | None = None


@dataclass(frozen=True)
class Bulletin:
    """One of NVIDIA's, for Triton or for TensorRT-LLM."""

    bulletin: str
    fixed_in: str  # a release of the image, or a version of TensorRT-LLM
    cves: tuple[str, ...]
    what: str
    worst: float | None = None  # CVSS base score, where the bulletin's was read
    published: str | None = None  # "2026-08"


@dataclass(frozen=True)
class Table:
    """The whole file."""

    as_of: str
    minimum_release: str  # below it a known hole of 9.8 is open
    default_release: str
    images: tuple[Image, ...]
    triton_bulletins: tuple[Bulletin, ...]
    tensorrt_llm_bulletins: tuple[Bulletin, ...]

    def image(self, release: str) -> Image | None:
        """What is in a release; None when the matrix had no row for it."""
        return next((image for image in self.images if image.release == release), None)

    def open_bulletins(self, release: str) -> tuple[Bulletin, ...]:
        """Triton's that a release does not fix, the oldest first."""
        return tuple(one for one in self.triton_bulletins if as_numbers(release) < as_numbers(one.fixed_in))

    def open_tensorrt_llm_bulletins(self, version: str) -> tuple[Bulletin, ...]:
        """TensorRT-LLM's that a version does not fix."""
        return tuple(one for one in self.tensorrt_llm_bulletins if as_numbers(version) < as_numbers(one.fixed_in))

    @property
    def default_image(self) -> str:
        """Name and tag of the image to use."""
        return f"{REPOSITORY}:{self.default_release}-trtllm-python-py3"


@cache
def read_table() -> Table:
    """The file that ships with Trident."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("nvidia_images.json").read_text(encoding="utf-8"))
    images = tuple(Image(**one) for one in content.pop("images"))
    triton, tensorrt_llm = (
        tuple(Bulletin(**{**one, "cves": tuple(one["cves"])}) for one in content.pop(key))
        for key in ("triton_bulletins", "tensorrt_llm_bulletins")
    )
    return Table(**content, images=images, triton_bulletins=triton, tensorrt_llm_bulletins=tensorrt_llm)


def as_numbers(version: str) -> tuple[int, ...]:
    """`26.07`, `1.3.0rc17` or `590.44.01` as a tuple that sorts; a release candidate sorts before its release."""
    release, _, candidate = version.partition("rc")
    parts = [int(part) for part in re.findall(r"\d+", release)][:3]
    padded = parts + [0] * (3 - len(parts))
    return (*padded, int(candidate) if candidate.isdigit() else 1 << 30)
