"""What is written down, and what never is."""

from __future__ import annotations

import json
import logging

import pytest

from tests.unit.gateway.observed import PROMPT, asked, outcome
from trident.errors import EngineError
from trident.gateway.identity import Identity
from trident.gateway.logs import JsonLines, RequestLog, RequestRecord, TextLines, current_record


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "trident")
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


@pytest.fixture
def record():
    made = RequestRecord("id-1", "POST")
    token = current_record.set(made)
    yield made
    current_record.reset(token)


def test_a_generation_belongs_to_the_line_of_its_http_request(lines, record):
    RequestLog().ended(outcome())
    record.write("/v1/chat/completions", 200, Identity("acme", "key-1"))
    (line,) = lines()
    assert (line["event"], line["request_id"], line["model"], line["output_tokens"]) == ("request", "id-1", "small", 11)


def test_several_generations_of_a_request_are_added_up(lines, record):
    RequestLog().ended(outcome())
    RequestLog().ended(outcome(ttft_s=0.3))
    record.write("/v1/completions", 200, None)
    (line,) = lines()
    assert (line["input_tokens"], line["output_tokens"], line["cost"], line["ttft_ms"]) == (10, 22, 0.5, 100.0)


def test_a_generation_without_an_http_request_has_a_line_of_its_own(lines):
    RequestLog().ended(outcome(asked(request_id="id-2"), error=EngineError("failed")))
    (line,) = lines()
    assert (line["event"], line["request_id"], line["tenant"]) == ("generation", "id-2", "acme")
    assert line["error"] == "EngineError"


def test_a_generation_that_outlives_its_http_request_has_a_line_of_its_own(lines, record):
    record.write("/v1/batches", 200, None)
    RequestLog().ended(outcome())
    assert [line["event"] for line in lines()] == ["request", "generation"]


def test_a_client_that_left_is_told_from_one_that_was_answered(lines, record):
    RequestLog().ended(outcome(is_cancelled=True))
    record.write("/v1/chat/completions", 0, None)
    (line,) = lines()
    assert (line["status"], line["cancelled"]) == (None, True)


@pytest.mark.parametrize("formatter", [JsonLines(), TextLines()], ids=["json", "text"])
def test_no_line_holds_a_prompt(caplog, formatter):
    caplog.set_level(logging.INFO, "trident")
    RequestLog().ended(outcome())
    logging.getLogger("trident.gateway").error("request id-1 failed", exc_info=ValueError(PROMPT))
    written = [formatter.format(record) for record in caplog.records]
    assert len(written) == 2
    assert PROMPT not in "".join(written)
    assert "ValueError" in written[1]
