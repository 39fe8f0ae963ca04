"""What the postprocessing model does: the text of one response of the engine, and what is read from that text.

A pure function of one response. Where tool calls, reasoning, output checks or a guide are asked for, the response
brings all ids of its sequence so far, and what they had already given is made again and left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trident.errors import EngineError
from trident.safety.chain import OutputChain
from trident.safety.verdict import Verdict
from trident.text.detokenizer import Detokenizer
from trident.text.guides import problem_of
from trident.text.reading import Reading
from trident.text.report import verdicts_json
from trident.text.text_options import TextOptions


@dataclass(frozen=True)
class Response:
    """One response of one sequence, as the engine model sent it."""

    beams: list[list[int]]  # ids; more than one list only of a beam search
    context_ids: list[int] | None  # None: from NVIDIA's C++ backend, which says nothing of what came before
    finish_reason: str = ""  # set on the last response of the sequence
    trim_bytes: int = 0
    options: TextOptions = field(default_factory=TextOptions)
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a client gets of it."""

    texts: list[str]  # one for each beam
    finish_reason: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)  # as in the OpenAI API, with their index
    token_texts: list[bytes] | None = None
    report: dict[str, Any] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()  # of the output checks; on the last response


class Postprocessing:
    """Pure function of a response, given one engine's tokenizer and a deployment's output checks."""

    def __init__(self, detokenizers: Callable[[bool], Detokenizer], checks: OutputChain) -> None:
        """`detokenizers`: by whether special tokens are skipped."""
        self._detokenizers = detokenizers
        self._checks = checks

    def decode(self, response: Response) -> Answer:
        """The text that a response adds, and what it says.

        Raises:
            EngineError: a finished answer does not keep its guide; or the deployment checks outputs, and the response
                does not say what came before it.
        """
        options = response.options
        detokenizer = self._detokenizers(options.skip_special_tokens)
        if response.context_ids is None:
            if self._checks.is_active:
                raise EngineError("the deployment checks outputs, which needs Trident's own engine model")
            return Answer([detokenizer.lone(ids) for ids in response.beams], response.finish_reason)
        if len(response.beams) > 1:
            texts = [_echo(detokenizer, ids, options.num_echoed, True, 0) for ids in response.beams]
            return Answer(texts, response.finish_reason, report=response.report)
        (ids,) = response.beams
        if options.needs_whole:
            answer = self._read(detokenizer, response, ids)
        else:
            text = self._plain(detokenizer, response, ids)
            answer = Answer([text], response.finish_reason, report=response.report)
        if options.guide is not None and response.finish_reason:
            answer = dataclasses.replace(answer, report={**answer.report, "guide": self._guide(answer, response, ids)})
        if not options.token_texts:
            return answer
        return dataclasses.replace(answer, token_texts=self._token_texts(detokenizer, response, ids))

    def _plain(self, detokenizer: Detokenizer, response: Response, ids: list[int]) -> str:
        is_last = bool(response.finish_reason)
        if is_last and response.options.num_echoed:
            return _echo(detokenizer, ids, response.options.num_echoed, is_last, response.trim_bytes)
        context = detokenizer.window(response.context_ids or ())
        return detokenizer.delta(context, ids, is_last, response.trim_bytes)

    def _read(self, detokenizer: Detokenizer, response: Response, ids: list[int]) -> Answer:
        options, is_last = response.options, bool(response.finish_reason)
        prompt, generated = (ids[: options.num_echoed], ids[options.num_echoed :]) if is_last else ([], ids)
        echoed = detokenizer.delta((), prompt, is_last=False)
        reading = Reading(options, self._checks)
        so_far = [*(response.context_ids or ()), *generated]
        start, end = len(response.context_ids or ()), len(so_far)
        if options.tool_parser:
            start = _text_end(so_far[:start], detokenizer)
            end = end if response.trim_bytes else _text_end(so_far, detokenizer)
        reading.feed(detokenizer.delta((), so_far[:start], is_last=False))
        num_calls = reading.parser.num_calls
        context = detokenizer.window([*prompt, *so_far[:start]])
        added = detokenizer.delta(context, so_far[start:end], is_last, response.trim_bytes)
        parts = reading.feed(added, is_last)
        answer = Answer(
            [echoed + parts.content],
            response.finish_reason,
            parts.reasoning,
            [
                {"index": call.index, "id": call.id, "type": "function",
                 "function": {"name": call.name, "arguments": call.arguments}}
                for call in parts.tool_calls
            ],
        )  # fmt: skip
        return self._last(answer, reading, response, num_calls) if is_last else answer

    def _last(self, answer: Answer, reading: Reading, response: Response, num_calls: int) -> Answer:
        finish_reason, report = response.finish_reason, dict(response.report)
        if checks := verdicts_json(reading.verdicts):
            report["checks"] = [*report.get("checks", []), *checks]
        if reading.is_blocked:
            finish_reason = "content_filter"
        elif finish_reason == "stop" and (answer.tool_calls or num_calls):
            finish_reason = "tool_calls"
        return dataclasses.replace(answer, finish_reason=finish_reason, report=report, verdicts=reading.verdicts)

    def _guide(self, answer: Answer, response: Response, ids: list[int]) -> str:
        """`kept`, or `cut`: by max_tokens, a stop word or a check. The model's own text counts, not what left of it."""
        guide = response.options.guide
        if guide is None or answer.finish_reason == "content_filter":
            return "cut"
        detokenizer = self._detokenizers(response.options.skip_special_tokens or not response.trim_bytes)
        generated = [*(response.context_ids or ()), *ids[response.options.num_echoed :]]
        problem = problem_of(guide, detokenizer.delta((), generated, True, response.trim_bytes))
        if problem is None:
            return "kept"
        ended_itself = bool(generated) and generated[-1] in detokenizer.pieces.special and not response.trim_bytes
        if answer.finish_reason == "stop" and ended_itself:
            raise EngineError(f"the answer does not keep its guide: {problem}")
        return "cut"

    def _token_texts(self, detokenizer: Detokenizer, response: Response, ids: list[int]) -> list[bytes]:
        """The bytes of each generated id, of special ones too: their log-probabilities are there."""
        options, keeping = response.options, self._detokenizers(False)
        num_echoed = options.num_echoed if response.finish_reason else 0
        is_start = not detokenizer.window([*(response.context_ids or ()), *ids[:num_echoed]])
        pieces: list[bytes] = []
        num_text_bytes: list[int] = []
        for token_id in ids[num_echoed:]:
            pieces += keeping.token_bytes([token_id], is_start)
            num_text_bytes += map(len, detokenizer.token_bytes([token_id], is_start))
            is_start = is_start and not detokenizer.window([token_id])
        trim = response.trim_bytes
        for place in range(len(pieces) - 1, -1, -1):
            if not trim:
                break
            cut = min(trim, num_text_bytes[place])
            pieces[place] = pieces[place][: len(pieces[place]) - cut]
            trim -= cut
        return pieces


def _echo(detokenizer: Detokenizer, ids: Sequence[int], num_echoed: int, is_last: bool, trim_bytes: int) -> str:
    """The prompt, and the completion as it reads behind it."""
    prompt, completion = ids[:num_echoed], ids[num_echoed:]
    text = detokenizer.delta((), prompt, is_last=False)
    return text + detokenizer.delta(detokenizer.window(prompt), completion, is_last, trim_bytes)


def _text_end(ids: list[int], detokenizer: Detokenizer) -> int:
    """Where special ids begin that nothing follows yet: at the end they (the EOS id is one) are no part of a call."""
    count = len(ids)
    while count and ids[count - 1] in detokenizer.pieces.special:
        count -= 1
    return count
