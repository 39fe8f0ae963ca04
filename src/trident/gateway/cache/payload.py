"""What lies beside a vector of the semantic cache, as JSON: the question, and the answer where others read it too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

from trident_client.completion import Delta

_SHARED = (
    "text", "finish_reason", "num_input_tokens", "num_output_tokens", "num_cached_tokens", "batch_index",
    "sequence_index", "reasoning", "report",
)  # fmt: skip
_OTHERS = tuple(field.name for field in fields(Delta) if field.name not in _SHARED)


class Payload(NamedTuple):
    """`deltas` is empty where the answer lies elsewhere."""

    question: str
    deltas: tuple[Delta, ...]


def to_payload(question: str, deltas: Sequence[Delta] = ()) -> str:
    """Raises ValueError: the answer holds what is not for others, such as log probabilities or logits."""
    for delta in deltas:
        held = [getattr(delta, name) for name in _OTHERS]
        if any(value is not None and not (isinstance(value, tuple) and not value) for value in held):
            raise ValueError("an answer with figures of single tokens is not shared")
    rows = [{name: getattr(delta, name) for name in _SHARED} for delta in deltas]
    return json.dumps({"question": question, "deltas": rows})


def read_payload(payload: str) -> Payload:
    """Raises ValueError: it is none; another version may have written it."""
    try:
        values = json.loads(payload)
        return Payload(str(values["question"]), tuple(Delta(**row) for row in values["deltas"]))
    except (TypeError, KeyError) as exc:
        raise ValueError(f"not a payload: {exc}") from exc
