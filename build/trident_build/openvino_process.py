"""Calls of OpenVINO GenAI in a child process: it prints to both standard streams, keeps its memory, and may crash.

Knows the questions and the answers; `openvino` is what runs in the child.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident_build.child import run_in_child

MODULE = "trident_build.openvino"


@dataclass(frozen=True)
class Probe:
    """What OpenVINO makes of an engine directory."""

    token_ids: list[list[int]]  # of every text, no special token added
    vocabulary: dict[str, int]  # bytes of a token in hexadecimal -> its id
    eos_id: int
    stop_ids: list[int]  # that its generation config holds
    completion: str


def convert(gguf: Path, *, log: Path | None = None) -> None:
    """Write openvino_model, openvino_tokenizer and openvino_detokenizer (.xml and .bin) beside the file `gguf`.

    Raises:
        RecipeError: OpenVINO refuses the file.
        HostError: the child process was killed.
    """
    run_in_child("OpenVINO cannot convert this model", MODULE, "convert", log=log, gguf=str(gguf))


def probe(engine: Path, texts: list[str], prompt: str, max_new_tokens: int, *, log: Path | None = None) -> Probe:
    """Encode `texts` and complete `prompt` greedily with the files in `engine`, as the server will load them.

    Raises:
        RecipeError: OpenVINO refuses the files.
        HostError: the child process was killed.
    """
    request: dict[str, Any] = {
        "engine": str(engine),
        "texts": texts,
        "prompt": prompt,
        "max_new_tokens": max_new_tokens,
    }
    return Probe(**run_in_child("OpenVINO cannot probe this model", MODULE, "probe", log=log, **request))
