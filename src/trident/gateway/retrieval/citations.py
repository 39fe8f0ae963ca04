"""The marks `[1]` of an answer, told as OpenAI tells of citations, with the passages that were given.

Pure functions of the answer's text. A mark whose number no passage had is text, and no citation.
https://platform.openai.com/docs/api-reference/chat/object: `message.annotations`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trident.gateway.retrieval.retriever import Passage

Json = dict[str, Any]
_MARK = re.compile(r"\[([0-9]{1,3}(?:\s*[,;]\s*[0-9]{1,3})*)\]")
_NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True)
class Citations:
    """Of one request. `passages`: the first is 1; `findings`: of each, what its words try to do, mostly nothing."""

    collection: str
    version: str
    passages: tuple[Passage, ...]
    findings: tuple[str, ...]
    num_left_out: int  # that were found and did not fit

    def annotations(self, text: str) -> list[Json]:
        """Of an answer: one for each number of each mark, in the order of the text; indexes count characters."""
        return [
            self._annotation(int(number), mark.start(), mark.end())
            for mark in _MARK.finditer(text)
            for number in _NUMBER.findall(mark[1])
            if 1 <= int(number) <= len(self.passages)
        ]

    def body(self) -> Json:
        """The value of `retrieval` in an answer."""
        return {
            "collection": self.collection,
            "version": self.version,
            "passages": [
                {
                    "number": number,
                    "document": passage.document,
                    "place": passage.place,
                    "score": round(passage.score, 4),
                    "text": passage.text,
                    **({"finding": finding} if finding else {}),
                }
                for number, (passage, finding) in enumerate(zip(self.passages, self.findings, strict=True), start=1)
            ],
            "left_out": self.num_left_out,
        }

    def told_in(self, body: Json) -> Json:
        """The body of a chat completion with both."""
        for choice in body["choices"]:
            message = choice["message"]
            message["annotations"] = self.annotations(message["content"] or "")
        return {**body, "retrieval": self.body()}

    def _annotation(self, number: int, start: int, end: int) -> Json:
        passage = self.passages[number - 1]
        where = f"/v1/collections/{quote(self.collection)}/documents/{quote(passage.document, safe='')}"
        title = f"{passage.document}, {passage.place}"
        cited = {"start_index": start, "end_index": end, "title": title, "url": where}
        return {"type": "url_citation", "url_citation": cited}
