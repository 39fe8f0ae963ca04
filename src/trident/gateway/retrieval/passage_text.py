"""A passage as it stands in a prompt: material that ends no fence, begins no turn and cites nothing.

A tokenizer makes its control tokens of any text that looks like one, and chat templates escape nothing. They all look
like `<|im_start|>`, `<start_of_turn>`, `</s>` or `[INST]`, and so does the fence around a passage; a space behind the
first character makes words of them again. Numbers in brackets would be citations of other passages.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(r"<(?=[^\s<=>.,;:)-])|\[(?=/?[a-z]?[A-Z][A-Z0-9_]+\])")
_NUMBER = re.compile(r"\[(\s*\d+(?:\s*[,;–-]\s*\d+)*\s*)\]")
# What nobody sees, and a model reads: direction marks, joiners of words, tags. (Persian and emoji need U+200C, U+200D.)
_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


def as_material(text: str) -> str:
    """Its words, to a reader the same."""
    return _NUMBER.sub(r"(\1)", _MARKUP.sub(lambda found: f"{found[0]} ", _UNSEEN.sub("", text)))
