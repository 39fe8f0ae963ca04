"""The events of a streamed chat or completion: pure functions of deltas.

What all chunks of a stream share is made once; a chunk of text costs one JSON string and two joins. Nothing is known
here of exchanges or of how events leave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from trident.gateway.edge.errors import ApiError
from trident.gateway.retrieval.citations import Citations
from trident_client.completion import Delta
from trident_client.openai_request import OpenAIRequest
from trident_client.openai_response import (
    Names,
    chat_log_probs,
    completion_log_probs,
    finish_reason_of,
    num_reasoning_tokens,
    usage_body,
)
from trident_client.openai_tools import CallPiece, GuidedCalls, call_id

DONE = b"data: [DONE]\n\n"
_NO_NAMES: Names = {}


def error_event(error: ApiError) -> bytes:
    """Of a failure in mid-stream; nothing follows it."""
    return b"data: " + orjson.dumps(error.openai_object()) + b"\n\n"


@dataclass(frozen=True, slots=True)
class StreamHead:
    """What every chunk of a stream says."""

    request_id: str
    model: str
    created: int  # seconds since 1970
    fingerprint: str


@dataclass(slots=True)
class _Count:
    """Of one sequence."""

    num_reasoning_chars: int = 0
    num_text_chars: int = 0


@dataclass(slots=True)
class Tokens:
    """What a stream has taken so far, as its last deltas say it."""

    num_input: dict[int, int] = field(default_factory=dict)  # by prompt, as the next
    num_cached: dict[int, int] = field(default_factory=dict)
    num_output: int = 0
    num_reasoning: int = 0

    def add(self, number: int, delta: Delta, count: _Count) -> None:
        """The last delta of a sequence of the prompt with this number."""
        num_output = delta.num_output_tokens or 0
        self.num_input[number] = delta.num_input_tokens or 0
        self.num_cached[number] = delta.num_cached_tokens or 0
        self.num_output += num_output
        self.num_reasoning += num_reasoning_tokens(num_output, count.num_reasoning_chars, count.num_text_chars)

    def body(self) -> dict[str, Any]:
        """The value of `usage`."""
        return usage_body(
            sum(self.num_input.values()), self.num_output, sum(self.num_cached.values()), self.num_reasoning
        )


class _Chunks:
    """The bytes that all chunks of a stream have in common."""

    def __init__(self, head: StreamHead, prefix: str, kind: str, *, includes_usage: bool) -> None:
        shared = {
            "id": f"{prefix}-{head.request_id}",
            "object": kind,
            "created": head.created,
            "model": head.model,
            "system_fingerprint": head.fingerprint,
        }
        self._open = b"data: " + orjson.dumps(shared)[:-1]
        self.tail = b'}],"usage":null}\n\n' if includes_usage else b"}]}\n\n"

    def choice(self, index: int, beside: bytes = b"") -> bytes:
        """How the chunk of a choice begins; `beside`: another member of the chunk."""
        return self._open + beside + b',"choices":[{"index":%d,' % index

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The chunk after the last choice's."""
        return self._open + b',"choices":[],"usage":' + orjson.dumps(usage) + b"}\n\n"


class ChatEvents:
    """Of one chat completion, for all its choices."""

    def __init__(self, head: StreamHead, request: OpenAIRequest, citations: Citations | None = None) -> None:
        """`citations`: of a chat that was given passages; the last chunk of each choice tells them."""
        self._request_id = head.request_id
        self._citations = citations
        self._texts: dict[int, list[str]] = {}  # of each choice, where there is anything to cite
        self._forced = request.forced
        self._includes_usage = request.includes_usage
        self._chunks = _Chunks(head, "chatcmpl", "chat.completion.chunk", includes_usage=request.includes_usage)
        self._text_end = b'},"logprobs":null,"finish_reason":null' + self._chunks.tail
        self._choices: dict[int, bytes] = {}  # how the chunks of each begin
        self._counts: dict[int, _Count] = {}
        self._calls: dict[int, GuidedCalls] = {}
        self._tokens = Tokens()

    def of(self, number: int, delta: Delta, names: Names = _NO_NAMES) -> bytes:
        """The events that a delta makes, which may be none.

        `number`: of the prompt, 0 in a chat; `names`: texts of the delta's `top_ids`.
        """
        index = delta.sequence_index
        events = []
        if index not in self._choices:
            self._choices[index] = self._chunks.choice(index) + b'"delta":{'
            self._counts[index] = _Count()
            nothing = b'""' if self._forced is None else b"null"
            events.append(self._choices[index] + b'"role":"assistant","content":' + nothing + self._text_end)
        begin, count = self._choices[index], self._counts[index]
        count.num_text_chars += len(delta.text)
        if self._citations is not None:
            self._texts.setdefault(index, []).append(delta.text)
        if delta.reasoning:
            count.num_reasoning_chars += len(delta.reasoning)
            events.append(begin + b'"reasoning_content":' + orjson.dumps(delta.reasoning) + self._text_end)
        if self._forced is not None:
            events += [begin + self._piece(index, piece) + self._text_end for piece in self._pieces(index, delta.text)]
        elif delta.log_probs:
            events.append(begin + b'"content":' + orjson.dumps(delta.text) + self._with_log_probs(delta, names))
        elif delta.text:
            events.append(begin + b'"content":' + orjson.dumps(delta.text) + self._text_end)
        if delta.tool_calls:
            events.append(begin + b'"tool_calls":' + orjson.dumps(delta.tool_calls) + self._text_end)
        if delta.finish_reason:
            reason = orjson.dumps(finish_reason_of(delta.finish_reason, self._forced))
            last = begin if self._citations is None else self._cited(index, self._citations)
            events.append(last + b'},"logprobs":null,"finish_reason":' + reason + self._chunks.tail)
            self._tokens.add(number, delta, count)
        return events[0] if len(events) == 1 else b"".join(events)

    def end(self) -> bytes:
        """What stands after the last choice."""
        return self._chunks.usage(self._tokens.body()) + DONE if self._includes_usage else DONE

    def _cited(self, index: int, citations: Citations) -> bytes:
        """How the last chunk of a choice begins: with the passages that were given, and what the answer cites."""
        annotations = citations.annotations("".join(self._texts[index]) if self._forced is None else "")
        begin = self._chunks.choice(index, b',"retrieval":' + orjson.dumps(citations.body()))
        return begin + b'"delta":{"annotations":' + orjson.dumps(annotations)

    def _with_log_probs(self, delta: Delta, names: Names) -> bytes:
        log_probs = orjson.dumps(chat_log_probs(delta, names))
        return b'},"logprobs":' + log_probs + b',"finish_reason":null' + self._chunks.tail

    def _pieces(self, index: int, text: str) -> list[CallPiece]:
        if index not in self._calls and self._forced is not None:
            self._calls[index] = GuidedCalls(self._forced)
        return self._calls[index].feed(text)

    def _piece(self, index: int, piece: CallPiece) -> bytes:
        call: dict[str, Any] = {"index": piece.index, "function": {"arguments": piece.arguments}}
        if piece.name is not None:
            call["id"] = call_id(self._request_id, index, piece.index)
            call["type"] = "function"
            call["function"] = {"name": piece.name, "arguments": piece.arguments}
        return b'"tool_calls":' + orjson.dumps([call])


class CompletionEvents:
    """Of one `/v1/completions`, for all choices of all its prompts."""

    def __init__(self, head: StreamHead, request: OpenAIRequest, echoes: tuple[str, ...] = ()) -> None:
        self._num_choices = request.num_choices
        self._includes_usage = request.includes_usage
        self._echoes = echoes  # by prompt
        self._chunks = _Chunks(head, "cmpl", "text_completion", includes_usage=request.includes_usage)
        self._text_end = b',"logprobs":null,"finish_reason":null' + self._chunks.tail
        self._choices: dict[int, bytes] = {}
        self._counts: dict[int, _Count] = {}
        self._tokens = Tokens()

    def of(self, number: int, delta: Delta, names: Names = _NO_NAMES) -> bytes:
        """The events that a delta makes, which may be none; arguments as in `ChatEvents`."""
        index = number * self._num_choices + delta.sequence_index
        text = delta.text
        if index not in self._choices:
            self._choices[index] = self._chunks.choice(index) + b'"text":'
            self._counts[index] = _Count()
            text = self._echoes[number] + text if self._echoes else text
        begin, count = self._choices[index], self._counts[index]
        if not (delta.finish_reason or delta.log_probs):
            count.num_text_chars += len(text)
            return begin + orjson.dumps(text) + self._text_end if text else b""
        log_probs = completion_log_probs(delta, count.num_text_chars, names)
        count.num_text_chars += len(text)
        if delta.finish_reason:
            self._tokens.add(number, delta, count)
        return b"".join(
            (
                begin,
                orjson.dumps(text),
                b',"logprobs":',
                orjson.dumps(log_probs),
                b',"finish_reason":',
                orjson.dumps(finish_reason_of(delta.finish_reason)),
                self._chunks.tail,
            )
        )

    def end(self) -> bytes:
        """What stands after the last choice."""
        return self._chunks.usage(self._tokens.body()) + DONE if self._includes_usage else DONE
