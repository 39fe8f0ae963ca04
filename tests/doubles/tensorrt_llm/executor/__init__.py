"""Errors of the executor, and a request for an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class RequestError(RuntimeError):
    """One request failed."""


class CppExecutorError(RuntimeError):
    """The executor failed."""


@dataclass(slots=True)
class LoRARequest:
    """An adapter, by an id that is the same for it at all times."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self) -> None:
        if not Path(self.lora_path).exists():
            raise ValueError(f"lora_path ({self.lora_path}) does not exist.")
