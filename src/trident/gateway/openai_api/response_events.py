"""The events of a streamed response, and the response that they make: pure functions of deltas.

An answer that is not streamed is made the same way, and its events are not sent. Nothing is known here of exchanges, of
the database or of how events leave.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from trident.gateway.edge.errors import ApiError
from trident.gateway.openai_api.response_items import new_item_id
from trident_client.completion import Delta
from trident_client.openai_response import Names, chat_log_probs, num_reasoning_tokens
from trident_client.openai_tools import ForcedCalls, GuidedCalls, call_id

Json = dict[str, Any]
_NO_NAMES: Names = {}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseEvents:
    """Of one response: `begin`, `of` each delta, then `end` or `fail`. `response` is always how it stands."""

    def __init__(
        self, response: Json, request_id: str, forced: ForcedCalls | None, clock: Callable[[], float] = time.time
    ) -> None:
        """`response`: as it begins. `forced`: how the text is read as calls."""
        self.response = response
        self._request_id = request_id
        self._calls = None if forced is None else GuidedCalls(forced)
        self._clock = clock  # seconds since 1970
        self._number = 0  # of the next event
        self._item: Json | None = None  # that is being written
        self._pieces: list[str] = []  # of its text or arguments
        self._log_probs: list[Json] = []
        self._last: Delta | None = None
        self._num_text_chars = self._num_reasoning_chars = 0

    def begin(self) -> bytes:
        """The first two."""
        return self._event("response.created", response=self.response) + self._event(
            "response.in_progress", response=self.response
        )

    def of(self, delta: Delta, names: Names = _NO_NAMES) -> bytes:
        """Those of a delta, which may be none; `names`: texts of its `top_ids`."""
        events: list[bytes] = []
        if delta.reasoning:
            self._num_reasoning_chars += len(delta.reasoning)
            events += self._text("reasoning", delta.reasoning, [])
        self._num_text_chars += len(delta.text)
        if self._calls is not None:
            for piece in self._calls.feed(delta.text):
                if piece.name is not None:
                    events += self._begin_call(call_id(self._request_id, 0, piece.index), piece.name)
                events += self._arguments(piece.arguments)
        elif delta.text or delta.log_probs:
            events += self._text("message", delta.text, _log_probs(delta, names))
        for call in delta.tool_calls:
            events += self._begin_call(str(call["id"]), str(call["function"]["name"]))
            events += self._arguments(str(call["function"]["arguments"]))
        if delta.finish_reason:
            self._last = delta
        return b"".join(events)

    def end(self) -> bytes:
        """The last ones. The response is complete then, or says why it is not."""
        reason = self._last.finish_reason if self._last is not None else "cancelled"
        events: list[bytes] = []
        if self._item is None and not self.response["output"]:
            events += self._open("message")
        events += self._close("incomplete" if reason in _INCOMPLETE or reason == "cancelled" else "completed")
        if reason == "cancelled":
            self._set("cancelled")
        elif reason in _INCOMPLETE:
            self._set("incomplete", incomplete_details={"reason": _INCOMPLETE[reason]})
        else:
            self._set("completed", completed_at=int(self._clock()))
        last = "response.completed" if self.response["status"] == "completed" else "response.incomplete"
        events.append(self._event(last, response=self.response))
        return b"".join(events)

    def fail(self, error: ApiError) -> bytes:
        """Of a failure in mid-stream; nothing follows."""
        self._close("incomplete")
        code = (
            "rate_limit_exceeded"
            if error.status == 429
            else "server_error"
            if error.status >= 500
            else "invalid_prompt"
        )
        self._set("failed", error={"code": code, "message": error.message})
        told = self._event("error", code=error.code or error.type, message=error.message, param=error.param)
        return told + self._event("response.failed", response=self.response)

    def leave(self) -> None:
        """The client has gone: what came is kept, and the rest was cancelled."""
        if self.response["status"] == "in_progress":
            self._close("incomplete")
            self._set("cancelled")

    def _set(self, status: str, **fields: Any) -> None:
        self.response = {**self.response, **fields, "status": status, "usage": self._usage()}

    def _usage(self) -> Json | None:
        last = self._last
        if last is None:
            return None
        num_input, num_output = last.num_input_tokens or 0, last.num_output_tokens or 0
        num_reasoning = num_reasoning_tokens(num_output, self._num_reasoning_chars, self._num_text_chars)
        return {
            "input_tokens": num_input,
            "input_tokens_details": {"cached_tokens": last.num_cached_tokens or 0, "cache_write_tokens": 0},
            "output_tokens": num_output,
            "output_tokens_details": {"reasoning_tokens": num_reasoning},
            "total_tokens": num_input + num_output,
        }

    def _text(self, kind: str, text: str, log_probs: list[Json]) -> list[bytes]:
        events = [] if self._item is not None and self._item["type"] == kind else self._open(kind)
        self._pieces.append(text)
        self._log_probs += log_probs
        if kind == "reasoning":
            return [*events, self._event_of_part("response.reasoning_text.delta", delta=text)]
        return [*events, self._event_of_part("response.output_text.delta", delta=text, logprobs=log_probs)]

    def _arguments(self, piece: str) -> list[bytes]:
        if not piece:
            return []
        self._pieces.append(piece)
        return [self._event_of_item("response.function_call_arguments.delta", delta=piece)]

    def _open(self, kind: str) -> list[bytes]:
        events = self._close("completed")
        fields: Json = {"role": "assistant", "content": []} if kind == "message" else {"summary": [], "content": []}
        events += self._add(kind, fields)
        return [*events, self._event_of_part("response.content_part.added", part=_part(kind, "", []))]

    def _begin_call(self, the_call_id: str, name: str) -> list[bytes]:
        events = self._close("completed")
        return [*events, *self._add("function_call", {"call_id": the_call_id, "name": name, "arguments": ""})]

    def _add(self, kind: str, fields: Json) -> list[bytes]:
        item_id = new_item_id(kind, self.response["id"], str(len(self.response["output"])))
        self._item = {"type": kind, "id": item_id, "status": "in_progress", **fields}
        self._pieces, self._log_probs = [], []
        return [self._event("response.output_item.added", output_index=self._index, item=self._item)]

    def _close(self, status: str) -> list[bytes]:
        """End the item that is being written, which is part of the output then."""
        item = self._item
        if item is None:
            return []
        kind, text = item["type"], "".join(self._pieces)
        if kind == "function_call":
            events = [self._event_of_item("response.function_call_arguments.done", name=item["name"], arguments=text)]
            item = {**item, "arguments": text, "status": status}
        else:
            part = _part(kind, text, self._log_probs)
            done = {"text": text} if kind == "reasoning" else {"text": text, "logprobs": self._log_probs}
            name = "response.reasoning_text.done" if kind == "reasoning" else "response.output_text.done"
            events = [self._event_of_part(name, **done), self._event_of_part("response.content_part.done", part=part)]
            item = {**item, "content": [part], "status": status}
        events.append(self._event("response.output_item.done", output_index=self._index, item=item))
        self.response = {**self.response, "output": [*self.response["output"], item]}
        self._item = None
        return events

    @property
    def _index(self) -> int:
        return len(self.response["output"])

    def _event_of_part(self, kind: str, **fields: Any) -> bytes:
        return self._event_of_item(kind, content_index=0, **fields)

    def _event_of_item(self, kind: str, **fields: Any) -> bytes:
        item_id = "" if self._item is None else self._item["id"]
        return self._event(kind, item_id=item_id, output_index=self._index, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = orjson.dumps({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _part(kind: str, text: str, log_probs: list[Json]) -> Json:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": log_probs}


def _log_probs(delta: Delta, names: Names) -> list[Json]:
    told = chat_log_probs(delta, names)
    return [] if told is None else list(told["content"])
