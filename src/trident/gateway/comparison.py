"""A real answer beside the one that another deployment gives to a copy of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trident_client.completion import Completion


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is kept of the two; no text."""

    result: Literal["equal", "different", "failed"]
    winner: Literal["real", "shadow", ""]  # empty where nothing says which is better
    added_latency_s: float | None = None  # of the copy beyond the real answer; None: it failed, as the next
    added_chars: int | None = None


def compared(real: Completion, real_latency_s: float, shadow: Completion | None, shadow_latency_s: float) -> Comparison:
    """`shadow` None: it failed. An answer that came to its own end wins over one that was cut off or failed."""
    if shadow is None:
        return Comparison("failed", "real")
    is_equal = [each.text for each in (real, *real.others)] == [each.text for each in (shadow, *shadow.others)]
    ends = [completion.finish_reason != "length" for completion in (real, shadow)]
    return Comparison(
        "equal" if is_equal else "different",
        "" if is_equal or ends[0] == ends[1] else "real" if ends[0] else "shadow",
        shadow_latency_s - real_latency_s,
        len(shadow.text) - len(real.text),
    )
