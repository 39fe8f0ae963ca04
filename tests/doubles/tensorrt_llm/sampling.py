"""SamplingParams and GuidedDecodingParams: the fields of the facts, and the checks that the real ones make."""

from __future__ import annotations

import dataclasses
from typing import Any

from tensorrt_llm.args import FACTS, MORE


def _dataclass(name: str, facts: dict[str, Any], private: dict[str, Any]) -> type:
    given = [(key, Any, value) for key, value in facts.items() if key.isidentifier() and not key.startswith("_")]
    given += [(key, Any, value) for key, value in private.items() if key != "_bad_word_ids"]
    hidden = [
        (key, Any, dataclasses.field(default=value, init=False, repr=False))
        for key, value in private.items()
        if key == "_bad_word_ids"
    ]
    return dataclasses.make_dataclass(name, given + hidden, kw_only=True, slots=True)


class GuidedDecodingParams(_dataclass("_Guided", FACTS["GuidedDecodingParams"], {})):
    """One guide."""


class SamplingParams(_dataclass("_Sampling", FACTS["SamplingParams"], MORE["SamplingParams_private"])):
    """Everything about one request's sampling."""

    def __post_init__(self) -> None:
        self.best_of = self.best_of or self.n
        if self.pad_id is None:
            self.pad_id = self.end_id
        if self.best_of < self.n:
            raise ValueError(f"best_of ({self.best_of}) cannot be less than n ({self.n})")
        if self.best_of > 1 and self.is_greedy and not self.use_beam_search:
            raise ValueError("Greedy decoding in the LLM API does not allow multiple returns.")
        if self.guided_decoding is not None:
            given = [value for value in dataclasses.astuple(self.guided_decoding) if value]
            if len(given) != 1:
                raise ValueError(f"Only one guide can be used for a request, but got {len(given)}.")
        if self.embedding_bias is not None and type(self.embedding_bias).__module__ != "torch":
            raise TypeError("embedding_bias must be a torch.Tensor")

    @property
    def is_greedy(self) -> bool:
        """As `_greedy_decoding`."""
        return (self.top_k is None or self.top_k == 1) and not self.top_p

    def bad_words(self) -> list[list[int]]:
        """As `_get_bad_words`: single ids, then what a tokenizer would have made of `bad`."""
        words = [[token_id] for token_id in self.bad_token_ids or []]
        if self.bad is None:
            return words
        if self._bad_word_ids is None:
            raise RuntimeError("SamplingParams.bad is not processed by tokenizer, please call the setup method.")
        return words + self._bad_word_ids
