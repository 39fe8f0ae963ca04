"""Spans where OpenTelemetry is installed; nothing, and no error, where it is not."""

import subprocess
import sys

import pytest

from trident.errors import QueueFullError, TridentError
from trident_client import Retry

from .conftest import AsyncFace, SyncFace
from .scripted_server import Complain, Refuse, Say

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
trace = pytest.importorskip("opentelemetry.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
ALL = 10**6
BUSY = Refuse("UNAVAILABLE", 503, "the queue is full (8 of 8 sequences)")


@pytest.fixture(scope="module")
def exporter():
    """Keeps spans in memory; a process has one provider for good, hence one for the module."""
    exporter = in_memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter):
    exporter.clear()
    return exporter.get_finished_spans


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def client(request, url, protocol):
    return request.param(url, protocol, retry=Retry(1, first_wait_s=0.01))


def test_a_request_is_one_span_whose_context_reaches_the_server(client, server, spans):
    server.script = [Say("a"), Say("b", "stop", {"num_input_tokens": 3, "num_output_tokens": 2})]
    client.take(ALL, "Hi", max_tokens=7)
    (span,) = spans()
    assert (span.name, span.kind.name, span.status.status_code.name) == ("text_completion ensemble", "CLIENT", "UNSET")
    told = dict(span.attributes)
    assert told["gen_ai.request.max_tokens"] == 7
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (3, 2)
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["trident.stream.state"] == "ended"
    assert [event.name for event in span.events] == ["first response"]
    trace_id, span_id = span.context.trace_id, span.context.span_id
    assert server.requests[0]["headers"]["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")


def test_a_span_belongs_to_the_caller_s(client, server, spans):
    server.script = [Say("", "stop")]
    with trace.get_tracer("test").start_as_current_span("the caller's") as parent:
        client.generate("Hi")
    child = next(span for span in spans() if span.name != "the caller's")
    assert child.parent.span_id == parent.get_span_context().span_id


def test_retries_and_the_error_are_told(client, server, spans):
    server.script = [BUSY]
    with pytest.raises(QueueFullError):
        client.generate("Hi")
    (span,) = spans()
    assert (span.status.status_code.name, span.attributes["error.type"]) == ("ERROR", "QueueFullError")
    assert [event.name for event in span.events] == ["retry"]
    assert span.attributes["trident.retries"] == 1


def test_a_prompt_is_never_written_into_a_span(client, server, spans):
    server.script = [Say("the answer"), Complain("the engine's worker broke")]
    with pytest.raises(TridentError):
        client.take(ALL, "the question")
    assert "question" not in spans()[0].to_json()
    assert "the answer" not in spans()[0].to_json()


def test_without_opentelemetry_everything_works(server, url, protocol):
    server.script = [Say("a", "stop")]
    code = f"""
import sys
sys.modules["opentelemetry"] = None
from trident_client import Client
with Client({url!r}, {protocol!r}) as client:
    print(client.generate("Hi").text)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "a\n"), result.stderr
    assert "traceparent" not in server.requests[0]["headers"]
