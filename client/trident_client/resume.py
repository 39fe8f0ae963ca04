"""A stream that begins again after a failure goes on where it was: what was seen already is left out."""

from __future__ import annotations

from dataclasses import replace

from trident.errors import EngineError
from trident_client.completion import Delta


class Resume:
    """What a stream has given so far, by sequence, and how much of the new answer is to be left out."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, str, int]] = {}  # text, reasoning, number of log-probabilities
        self._due: dict[int, tuple[str, str, int]] = {}

    def restart(self) -> None:
        """The answer comes again from its beginning."""
        self._due = dict(self._seen)

    def accept(self, delta: Delta) -> Delta | None:
        """What is new in it; None: nothing.

        Raises:
            EngineError: the answer is not the same as before.
        """
        index = delta.sequence_index
        due = self._due.get(index)
        if due is not None:
            delta, self._due[index] = _without(delta, *due)
        text, reasoning, number = self._seen.get(index, ("", "", 0))
        self._seen[index] = (text + delta.text, reasoning + delta.reasoning, number + len(delta.log_probs))
        is_new = due is None or delta.text or delta.reasoning or delta.log_probs or delta.finish_reason
        return delta if is_new else None


def _without(delta: Delta, text: str, reasoning: str, number: int) -> tuple[Delta, tuple[str, str, int]]:
    new_text, text = _cut(delta.text, text)
    new_reasoning, reasoning = _cut(delta.reasoning, reasoning)
    rest = replace(
        delta,
        text=new_text,
        reasoning=new_reasoning,
        log_probs=delta.log_probs[number:],
        token_texts=delta.token_texts[number:],
        top_ids=delta.top_ids[number:],
        top_log_probs=delta.top_log_probs[number:],
    )
    return rest, (text, reasoning, max(0, number - len(delta.log_probs)))


def _cut(come: str, due: str) -> tuple[str, str]:
    """What is left of both once what they share is taken off."""
    length = min(len(come), len(due))
    if come[:length] != due[:length]:
        raise EngineError("the answer differs from the one that broke off; send the request again as a whole")
    return come[length:], due[length:]
