"""OpenTelemetry spans of requests, where its API is installed; without it nothing here does anything.

Names and attributes are those of the GenAI conventions:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

from functools import cache
from typing import Any

from trident.errors import TridentError
from trident_client.completion import Delta
from trident_client.sampling import Sampling


@cache
def _api() -> Any:
    """The modules `trace` and `propagate`; None: not installed."""
    try:
        from opentelemetry import propagate, trace  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return trace, propagate


class Span:
    """Of one request, from its first read to its final state."""

    def __init__(self, operation: str, model: str, request_id: str, sampling: Sampling) -> None:
        self._name = f"{operation} {model}"
        self._attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "triton",
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "trident.request.id": request_id,
        }
        self._span: Any = None
        self._finish_reasons: list[str] = []
        self._num_output_tokens = 0

    def start(self) -> None:
        """The request is about to be sent, in the context that is current."""
        if (api := _api()) is not None:
            trace, _ = api
            tracer = trace.get_tracer("trident_client")
            self._span = tracer.start_span(self._name, kind=trace.SpanKind.CLIENT, attributes=self._attributes)

    def headers(self) -> tuple[tuple[str, str], ...]:
        """`traceparent` and what else the propagators in use write, for the server's own spans to be part of this."""
        if self._span is None:
            return ()
        trace, propagate = _api()
        carrier: dict[str, str] = {}
        propagate.inject(carrier, context=trace.set_span_in_context(self._span))
        return tuple((name.lower(), value) for name, value in carrier.items())

    def began(self) -> None:
        """The first response has come."""
        if self._span is not None:
            self._span.add_event("first response")

    def retried(self, error: TridentError) -> None:
        """An attempt failed and another begins."""
        if self._span is not None:
            self._span.add_event("retry", {"error.type": type(error).__name__, "error.message": error.message})

    def saw_end(self, delta: Delta) -> None:
        """A sequence's last response has come."""
        if self._span is None:
            return
        self._finish_reasons.append(delta.finish_reason)
        self._num_output_tokens += delta.num_output_tokens or 0
        if delta.num_input_tokens is not None:
            self._span.set_attribute("gen_ai.usage.input_tokens", delta.num_input_tokens)
        self._span.set_attribute("gen_ai.usage.output_tokens", self._num_output_tokens)
        self._span.set_attribute("gen_ai.response.finish_reasons", self._finish_reasons)

    def end(self, state: str, error: TridentError | None, num_retries: int) -> None:
        """A final state is reached."""
        if self._span is None:
            return
        trace, _ = _api()
        self._span.set_attribute("trident.stream.state", state)
        self._span.set_attribute("trident.retries", num_retries)
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(trace.StatusCode.ERROR, error.message)
        self._span.end()
