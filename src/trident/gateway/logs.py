"""What the gateway writes down: one line for every request, on stderr, as JSON or as text.

Never a prompt, an answer, a key or a header: a line has the members of `RequestRecord.fields` and nothing else.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import orjson

from trident.gateway.asked import Asked, Outcome
from trident.gateway.identity import Identity

_log = logging.getLogger("trident.gateway.requests")


@dataclass(slots=True)
class RequestRecord:
    """One HTTP request, and the generations that came of it."""

    request_id: str
    method: str
    began: float = field(default_factory=time.monotonic)
    outcomes: list[Outcome] = field(default_factory=list)
    is_written: bool = False

    def write(self, route: str, status: int, identity: Identity | None) -> None:
        """The one line. `status` 0: the client left before there was one."""
        self.is_written = True
        duration_s = time.monotonic() - self.began
        fields = {
            "request_id": self.request_id,
            "method": self.method,
            "route": route,
            "status": status or None,
            "duration_ms": round(duration_s * 1000, 1),
            **({} if identity is None else {"tenant": identity.tenant, "key_id": identity.key_id}),
            **_of_outcomes(self.outcomes),
        }
        _log.info("request", extra={"fields": fields})


# Of the HTTP request that is being answered; empty in what runs by itself, as batches and gRPC do.
current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)


class RequestLog:
    """An observer: gives each generation to its HTTP request's line, or a line of its own."""

    def began(self, asked: Asked) -> None:
        """As an observer of exchanges."""

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        record = current_record.get()
        if record is not None and not record.is_written:
            record.outcomes.append(outcome)
            return
        asked = outcome.asked
        fields = {
            "request_id": asked.request_id,
            "api": asked.api,
            "duration_ms": round(outcome.duration_s * 1000, 1),
            "tenant": asked.identity.tenant,
            "key_id": asked.identity.key_id,
            **_of_outcomes([outcome]),
        }
        _log.info("generation", extra={"fields": fields})


def _of_outcomes(outcomes: list[Outcome]) -> dict[str, Any]:
    if not outcomes:
        return {}
    first, last = outcomes[0], outcomes[-1]
    return {
        "api": last.asked.api,
        "model": last.model,
        "deployment": last.deployment,
        "ttft_ms": None if first.ttft_s is None else round(first.ttft_s * 1000, 1),
        "input_tokens": sum(outcome.num_input_tokens for outcome in outcomes),
        "output_tokens": sum(outcome.num_output_tokens for outcome in outcomes),
        "cached_tokens": sum(outcome.num_cached_tokens for outcome in outcomes),
        "cost": round(sum(outcome.cost for outcome in outcomes), 9),
        "retries": sum(outcome.num_retries for outcome in outcomes),
        **({"cache": last.cache} if last.cache else {}),
        **({} if last.error is None else {"error": type(last.error).__name__}),
        **({"cancelled": True} if last.is_cancelled else {}),
    }


def start_logging(*, is_json: bool) -> None:
    """Of the whole process. Libraries speak when something is wrong; the gateway also when all is well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if is_json else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("trident").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's bad requests are not news


class JsonLines(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """As of `logging`."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = _frames_of(record)
        return orjson.dumps(line, default=str).decode()


class TextLines(logging.Formatter):
    """For a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """As of `logging`."""
        fields = [f"{name}={value}" for name, value in getattr(record, "fields", {}).items() if value is not None]
        lines = [" ".join([time.strftime("%H:%M:%S"), record.levelname.lower(), record.getMessage(), *fields])]
        return "\n".join(lines + (_frames_of(record) if record.exc_info else []))


def _frames_of(record: logging.LogRecord) -> list[str]:
    """Where it happened and what kind it was, without its text, which may quote what a client has sent."""
    _, exc, tb = record.exc_info or (None, None, None)
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(tb)]
    return [*frames, type(exc).__qualname__]
