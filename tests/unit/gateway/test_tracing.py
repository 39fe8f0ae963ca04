"""A request's span, from the client's `traceparent` to the one that Triton gets."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.unit.gateway.observed import PROMPT, asked, outcome
from trident.errors import EngineError
from trident.gateway.tracing import Tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.anyio
async def test_the_server_span_continues_the_clients_trace_and_says_what_was_generated():
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False, "operation_spans": False})

    @app.get("/v1/chat")
    async def chat() -> str:
        tracing = Tracing()
        tracing.began(asked())
        trace_id = trace.get_current_span().get_span_context().trace_id
        tracing.ended(outcome(error=EngineError("failed")))
        return f"{trace_id:032x}"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        answer = await client.get("/v1/chat", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert answer.json() == TRACE
    (span,) = spans.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    expected = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "small", "gen_ai.usage.output_tokens": 11}
    expected |= {"trident.deployment": "main", "trident.tenant": "acme", "error.type": "EngineError"}
    assert expected.items() <= span.attributes.items()
    assert PROMPT not in str(span.attributes)


def test_without_a_span_nothing_happens():
    Tracing().began(asked())
    Tracing().ended(outcome())
