"""One row of a request before and after preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trident.safety.verdict import Verdict
from trident.text.text_options import TextOptions


@dataclass(frozen=True)
class Prompt:
    """As it came. Exactly one of `text`, `messages` and `prompt_template` is to be set."""

    max_tokens: int | None
    text: bytes | None = None
    messages: bytes | None = None
    tools: bytes | None = None
    chat_template_kwargs: bytes | None = None
    prompt_template: bytes | None = None  # name@version
    prompt_variables: bytes | None = None
    truncate: bytes | None = None
    stop_words: tuple[bytes, ...] = ()
    bad_words: tuple[bytes, ...] = ()
    bias_words: tuple[bytes, ...] = ()
    bias_weights: tuple[float, ...] = ()
    end_id: int | None = None
    pad_id: int | None = None
    exclude_input: bool | None = None
    skip_special_tokens: bool | None = None
    tool_parser: bytes | None = None
    reasoning_parser: bytes | None = None
    guide_type: bytes | None = None
    guide: bytes | None = None


@dataclass(frozen=True)
class EncodedPrompt:
    """For the engine."""

    input_ids: list[int]
    max_tokens: int
    stop_word_ids: list[list[int]]
    bad_word_ids: list[list[int]]
    logit_bias: dict[int, float]  # id -> added to its logit
    end_id: int
    pad_id: int
    exclude_input: bool
    text_options: TextOptions
    report: dict[str, Any] = field(default_factory=dict)  # what was done to the prompt; empty: nothing
    verdicts: tuple[Verdict, ...] = ()

    def with_every_eos(self, eos_ids: Sequence[int]) -> EncodedPrompt:
        """For an engine that knows one end id only: where that is one of `eos_ids`, the others become stop words."""
        if self.end_id not in eos_ids:
            return self
        others = [[token_id] for token_id in eos_ids if token_id != self.end_id]
        return replace(self, stop_word_ids=[*self.stop_word_ids, *others])
